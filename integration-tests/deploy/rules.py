"""What schemas of Kubernetes let through and an API server, a kubelet or an operator does not: rules over rendered objects.

Every rule is a function that yields one sentence per fault. check.py shows of each that it refuses what was made wrong.
"""

import re

RULES = []
# What restricted pod security allows in a pod; "sysctls" that are safe for it.
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start"}
SECRET = re.compile(r"key|token|secret|password", re.I)


def rule(function):
    RULES.append(function)
    return function


def of_kind(objects, *kinds):
    return [o for o in objects if o["kind"] in kinds]


def name(o):
    return f"{o['kind']} {o['metadata']['name']}"


def named(objects, kind):
    return {o["metadata"]["name"]: o for o in of_kind(objects, kind)}


def templates(objects):
    """Every pod template with the object it is of."""
    for o in objects:
        if o["kind"] in ("StatefulSet", "Deployment", "Job"):
            yield o, o["spec"]["template"]
        elif o["kind"] == "CronJob":
            yield o, o["spec"]["jobTemplate"]["spec"]["template"]


def labels(template):
    return template["metadata"].get("labels", {})


def pod_labels(objects):
    """Labels of every pod, as the StatefulSet controller writes them."""
    for o, template in templates(objects):
        if o["kind"] == "StatefulSet":
            for index in range(o["spec"]["replicas"]):
                pod = f"{o['metadata']['name']}-{index}"
                yield pod, template, {**labels(template), "statefulset.kubernetes.io/pod-name": pod}
        else:
            yield o["metadata"]["name"], template, labels(template)


def selects(selector, found):
    return all(found.get(key) == value for key, value in selector.items())


def container_ports(template):
    return [port for container in template["spec"]["containers"] for port in container.get("ports", [])]


def cores(quantity):
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def size(quantity):
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9}
    text = str(quantity)
    for unit, factor in units.items():
        if text.endswith(unit):
            return float(text[: -len(unit)]) * factor
    return float(text)


@rule
def names_are_unique(objects):
    seen = set()
    for o in objects:
        key = o["apiVersion"], o["kind"], o["metadata"]["name"]
        if key in seen:
            yield f"{name(o)} is there twice"
        seen.add(key)
        if len(o["metadata"]["name"]) > 63:
            yield f"{name(o)}: a name of more than 63 characters"


@rule
def selectors_find_pods(objects):
    pods = list(pod_labels(objects))
    for o in objects:
        spec = o.get("spec", {})
        if o["kind"] in ("StatefulSet", "Deployment"):
            if not selects(spec["selector"]["matchLabels"], labels(spec["template"])):
                yield f"{name(o)}: its selector does not match the labels of its own pods"
            continue
        if o["kind"] == "Service":
            selector = spec["selector"]
        elif o["kind"] == "PodDisruptionBudget":
            selector = spec["selector"]["matchLabels"]
        elif o["kind"] == "NetworkPolicy":
            selector = spec["podSelector"].get("matchLabels", {})
        else:
            continue
        if not any(selects(selector, found) for _, _, found in pods):
            yield f"{name(o)}: its selector {selector} finds no pod"
    for monitor in of_kind(objects, "ServiceMonitor"):
        services = [s for s in of_kind(objects, "Service") if selects(monitor["spec"]["selector"]["matchLabels"], s["metadata"]["labels"])]
        scraped = [pod for s in services for pod, _, found in pods if selects(s["spec"]["selector"], found)]
        nodes = [pod for pod, template, _ in pods if any(port.get("name") == "metrics" for port in container_ports(template))]
        if sorted(scraped) != sorted(nodes):
            yield f"{name(monitor)} scrapes {sorted(scraped)}, once each should be {sorted(nodes)}"
        for endpoint in monitor["spec"]["endpoints"]:
            for service in services:
                if endpoint["port"] not in [port.get("name") for port in service["spec"]["ports"]]:
                    yield f"{name(monitor)}: {name(service)} has no port {endpoint['port']}"


@rule
def ports_exist(objects):
    for o, template in templates(objects):
        ports = container_ports(template)
        known = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        for port in ports:
            if len(port["name"]) > 15:
                yield f"{name(o)}: port name {port['name']} has more than 15 characters"
        numbers = [(port["containerPort"], port.get("protocol", "TCP")) for port in ports]
        if len(set(numbers)) != len(numbers):
            yield f"{name(o)}: two ports of one number"
        for container in template["spec"]["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container and "httpGet" not in container[probe]:
                    yield f"{name(o)}: {probe} needs a program in the image"
                elif probe in container and container[probe]["httpGet"]["port"] not in known:
                    yield f"{name(o)}: {probe} asks port {container[probe]['httpGet']['port']}, which the container does not have"
    for service in of_kind(objects, "Service"):
        for _, template, found in pod_labels(objects):
            if selects(service["spec"]["selector"], found):
                names = {port["name"] for port in container_ports(template)}
                for port in service["spec"]["ports"]:
                    if isinstance(port.get("targetPort"), str) and port["targetPort"] not in names:
                        yield f"{name(service)}: its pods have no port {port['targetPort']}"
    for policy in of_kind(objects, "NetworkPolicy"):
        for _, template, found in pod_labels(objects):
            if selects(policy["spec"]["podSelector"].get("matchLabels", {}), found):
                names = {port["name"] for port in container_ports(template)}
                for ingress in policy["spec"].get("ingress", []):
                    for port in ingress.get("ports", []):
                        if isinstance(port["port"], str) and port["port"] not in names:
                            yield f"{name(policy)}: its pods have no port {port['port']}"
    for route in of_kind(objects, "TLSRoute"):
        services = named(objects, "Service")
        for backend in (b for r in route["spec"]["rules"] for b in r["backendRefs"]):
            if backend["port"] not in [port["port"] for port in services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]]:
                yield f"{name(route)}: no Service {backend['name']} with port {backend['port']}"


@rule
def volumes_agree(objects):
    """Mounts have volumes, and volumes what they name. Secrets may come from elsewhere, ConfigMaps may not."""
    maps, secrets = named(objects, "ConfigMap"), named(objects, "Secret")
    for o, template in templates(objects):
        volumes = {v["name"]: v for v in template["spec"].get("volumes", [])}
        claims = {c["metadata"]["name"] for c in o["spec"].get("volumeClaimTemplates", [])}
        for both in claims & set(volumes):
            yield f"{name(o)}: volume {both} is also a claim"
        pods = [pod for pod, _, _ in pod_labels([o])]
        mounted = {m["name"] for c in template["spec"]["containers"] for m in c.get("volumeMounts", [])}
        for unused in (set(volumes) | claims) - mounted:
            yield f"{name(o)}: nothing mounts volume {unused}"
        for container in template["spec"]["containers"]:
            variables = {e["name"] for e in container.get("env", [])}
            for mount in container.get("volumeMounts", []):
                volume = volumes.get(mount["name"])
                if volume is None and mount["name"] not in claims:
                    yield f"{name(o)}: mounts {mount['name']}, which is no volume"
                    continue
                path = mount.get("subPathExpr")
                for variable in re.findall(r"\$\((\w+)\)", path or ""):
                    if variable not in variables:
                        yield f"{name(o)}: {path} needs the variable {variable}"
                if volume and path:
                    source = maps.get(volume["configMap"]["name"]) if "configMap" in volume else secrets.get(volume["secret"]["secretName"]) if "secret" in volume else None
                    keys = set(source.get("data", {})) | set(source.get("stringData", {})) if source else set()
                    for key in (path.replace("$(POD_NAME)", pod) for pod in pods):
                        if source and key not in keys:
                            yield f"{name(o)}: {name(source)} has no key {key}"
        for volume in volumes.values():
            if "configMap" in volume and volume["configMap"]["name"] not in maps:
                yield f"{name(o)}: there is no ConfigMap {volume['configMap']['name']}"


@rule
def services_of_sets_exist(objects):
    services = named(objects, "Service")
    for o in of_kind(objects, "StatefulSet"):
        service = services.get(o["spec"]["serviceName"])
        if not service or service["spec"].get("clusterIP") != "None":
            yield f"{name(o)}: there is no headless Service {o['spec']['serviceName']}"
        elif not service["spec"].get("publishNotReadyAddresses"):
            yield f"{name(service)}: nodes that are not ready yet are not to be found by it"


@rule
def environment_is_clean(objects):
    for o, template in templates(objects):
        for container in template["spec"]["containers"]:
            seen = set()
            for variable in container.get("env", []):
                if not re.fullmatch(r"[A-Z][A-Z0-9_]*", variable["name"]):
                    yield f"{name(o)}: {variable['name']} is not the name of a variable"
                if "secretKeyRef" in variable.get("valueFrom", {}) or SECRET.search(variable["name"]):
                    yield f"{name(o)}: {variable['name']} would be a secret in the environment; mount it as a file"
                for needed in re.findall(r"\$\((\w+)\)", variable.get("value", "")):
                    if needed not in seen:
                        yield f"{name(o)}: {variable['name']} needs {needed}, which is not defined before it"
                seen.add(variable["name"])
            if container.get("envFrom"):
                yield f"{name(o)}: envFrom may bring secrets and names that the node does not know"
        if template["spec"].get("enableServiceLinks") is not False:
            yield f"{name(o)}: variables of Services would be taken for keys of the node; set enableServiceLinks: false"
    for o in of_kind(objects, "ConfigMap"):
        for text in o["data"].values():
            if re.search(r"^(nodekey|mixkey): ", text, re.M):
                yield f"{name(o)} holds a secret key"


@rule
def pods_are_restricted(objects):
    """Pod security standard `restricted`, a root that cannot be written to, and no token of a service account."""
    for o, template in templates(objects):
        spec = template["spec"]
        if spec.get("automountServiceAccountToken") is not False and "serviceAccountName" not in spec:
            yield f"{name(o)}: its pods get a token of a service account"
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(key):
                yield f"{name(o)}: {key}"
        pod = spec.get("securityContext", {})
        if pod.get("runAsNonRoot") is not True or pod.get("runAsUser", 0) == 0:
            yield f"{name(o)}: may run as root"
        if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name(o)}: has no seccomp profile"
        for sysctl in pod.get("sysctls", []):
            if sysctl["name"] not in SYSCTLS:
                yield f"{name(o)}: sysctl {sysctl['name']} is not allowed"
        for volume in spec.get("volumes", []):
            if not {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim"} & set(volume):
                yield f"{name(o)}: volume {volume['name']} is of a kind that is not allowed"
            if volume.get("secret", {}).get("defaultMode", 0o440 if "secret" not in volume else 0o644) & 0o007:
                yield f"{name(o)}: everybody can read Secret {volume['secret']['secretName']}; the node would refuse it"
        for container in spec["containers"]:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{name(o)}: {container['name']} may gain privileges"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{name(o)}: the root of {container['name']} can be written to"
            if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
                yield f"{name(o)}: {container['name']} keeps capabilities"
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{name(o)}: {container['name']} takes a port of the machine"
            if container.get("command") and o["kind"] == "StatefulSet":
                yield f"{name(o)}: {container['name']} needs a program other than the node"


@rule
def resources_fit(objects):
    for o, template in templates(objects):
        for container in template["spec"]["containers"]:
            resources = container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            for kind, value in (("cpu", cores), ("memory", size)):
                if kind not in requests or kind not in limits:
                    yield f"{name(o)}: {container['name']} needs a request and a limit of {kind}"
                elif value(requests[kind]) > value(limits[kind]):
                    yield f"{name(o)}: {container['name']} requests more {kind} than its limit"


@rule
def nodes_have_time_to_stop(objects):
    maps = named(objects, "ConfigMap")
    for o in of_kind(objects, "StatefulSet"):
        grace = o["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
        for key, text in maps.get(o["metadata"]["name"], {"data": {}})["data"].items():
            drain = re.search(r'^drain-timeout: "(\d+)([sm])"$', text, re.M)
            if not drain or int(drain[1]) * {"s": 1, "m": 60}[drain[2]] >= grace:
                yield f"{name(o)}: {key} may drain for longer than the {grace} s before it is killed"


@rule
def budget_keeps_the_pool(objects, minimum=4):
    members = [pod for pod, _, found in pod_labels(objects) if found.get("wakumix/mixes") == "true"]
    closed = any("POD_IP" == e["name"] for _, t in templates(objects) for c in t["spec"]["containers"] for e in c.get("env", []))
    if len(members) < 2:
        return
    budgets = of_kind(objects, "PodDisruptionBudget")
    if len(budgets) != 1:
        yield f"{len(budgets)} PodDisruptionBudgets for one pool"
        return
    spec = budgets[0]["spec"]
    kept = [pod for pod, _, found in pod_labels(objects) if selects(spec["selector"]["matchLabels"], found)]
    if kept != members:
        yield f"{name(budgets[0])} is over {kept}, the pool is {members}"
    least = spec.get("minAvailable")
    if not isinstance(least, int):
        yield f"{name(budgets[0])}: minAvailable must be a number over several StatefulSets"
    elif closed and least < minimum:
        yield f"{name(budgets[0])} lets the pool fall to {least}, senders need {minimum}"
    elif least >= len(members):
        yield f"{name(budgets[0])}: no machine could ever be drained"


@rule
def policies_deny_first(objects):
    policies = of_kind(objects, "NetworkPolicy")
    for pod, template, found in pod_labels(objects):
        if "app.kubernetes.io/component" not in found:
            continue
        mine = [p for p in policies if selects(p["spec"]["podSelector"].get("matchLabels", {}), found)]
        for direction in ("Ingress", "Egress"):
            if not any(direction in p["spec"]["policyTypes"] and not p["spec"].get(direction.lower()) for p in mine):
                yield f"{pod}: nothing denies {direction.lower()} first"
        for rule_ in (r for p in mine for r in p["spec"].get("ingress", [])):
            private = {"rest", "metrics"} & {port["port"] for port in rule_.get("ports", [])}
            if not rule_.get("ports") or (private and not rule_.get("from")):
                yield f"{pod}: everybody may use {' and '.join(sorted(private)) or 'all of its ports'}"


def faults(objects):
    return [f"{r.__name__}: {fault}" for r in RULES for fault in r(objects)]
