"""Renders the chart and the overlays of deploy/ and checks what comes out: see run, which starts this.

check.py PROGRAM: checks everything, with the node PROGRAM. check.py --write: renders the overlays again.
"""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

import rules

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/wakumix"
OVERLAYS = ROOT / "deploy/kustomize"
RELEASE, NAMESPACE = "wakumix", "mixnet"
# The oldest that Chart.yaml allows, and the newest that the schemas have.
VERSIONS = ("1.30", "1.37")
# Custom resources, which Kubernetes has no schema of: the fields that their definitions ask for.
CUSTOM = {
    "ServiceMonitor": {"selector", "endpoints"},
    "PrometheusRule": {"groups"},
    "TLSRoute": {"hostnames", "parentRefs", "rules"},
}
# Overlays with a file of manifests that the chart renders from the example of the same name.
RENDERED = ("mix-only", "full", "browser-edge")

failures = []


def fail(text):
    failures.append(text)
    print(f"FAILED: {text}", file=sys.stderr)


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def template(*arguments):
    return run("helm", "template", RELEASE, CHART, "--namespace", NAMESPACE, *arguments)


def parse(text):
    return [o for o in yaml.safe_load_all(text) if o]


def check_schema(where, objects):
    for o in objects:
        needed = CUSTOM.get(o["kind"])
        if needed is not None:
            if needed - set(o["spec"]):
                fail(f"{where}: {rules.name(o)} lacks {', '.join(sorted(needed - set(o['spec'])))}")
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(o, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                fail(f"{where}: {rules.name(o)} is not valid for Kubernetes {version}: {error.message}")


def check_rules(where, objects):
    for fault in rules.faults(objects):
        fail(f"{where}: {fault}")


def check_configurations(where, objects, program, keys):
    """Every pod's file, arguments and environment, as a kubelet gives them, pass the node's own `config check`."""
    maps = rules.named(objects, "ConfigMap")
    checked = 0
    for o in rules.of_kind(objects, "StatefulSet"):
        container = o["spec"]["template"]["spec"]["containers"][0]
        for pod, _, _ in rules.pod_labels([o]):
            with tempfile.TemporaryDirectory() as folder:
                moved = lambda text: text.replace("/etc/wakumix", folder).replace("/data", f"{folder}/data")
                text = maps[o["metadata"]["name"]]["data"][f"{pod}.yaml"]
                os.mkdir(f"{folder}/data")
                pathlib.Path(folder, "wakumix.yaml").write_text(moved(text))
                for mount in container["volumeMounts"]:
                    target = pathlib.Path(moved(mount["mountPath"]))
                    if mount["name"] == "identities":
                        target.parent.mkdir()
                        target.write_text(keys[pod])
                        target.chmod(0o440)
                    elif mount["name"] == "rest-token":
                        target.mkdir()
                        (target / "token").write_text("a-token-of-this-test-alone")
                        (target / "token").chmod(0o440)
                    elif mount["name"] == "websocket":
                        target.mkdir()
                        domain = re.search(r'^dns4-domain-name: "[^.]+\.(.*)"$', text, re.M)[1]
                        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
                            "-addext", f"subjectAltName=DNS:*.{domain}", "-keyout", target / "tls.key", "-out", target / "tls.crt", check=True)
                        (target / "tls.key").chmod(0o440)
                values = {"metadata.name": pod, "status.podIP": "10.1.2.3", "status.hostIP": "198.51.100.7"}
                environment = {}
                for variable in container["env"]:
                    raw = variable.get("value") or values[variable["valueFrom"]["fieldRef"]["fieldPath"]]
                    environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda m: environment[m[1]], raw)
                [verb, *arguments] = container["args"]
                if verb != "node":
                    fail(f"{where}: {pod} runs {verb}")
                done = run(program, "config", "check", *[moved(a) for a in arguments], env={"PATH": os.environ["PATH"], **environment})
                if done.returncode != 0:
                    fail(f"{where}: the configuration of {pod} is refused: {done.stdout}{done.stderr}")
                checked += 1
    return checked


def identities(program, folder, *sets, demo=False, secret="wakumix-identities"):
    done = run(ROOT / "deploy/helm/identities", *(["--demo"] if demo else []), secret, RELEASE, NAMESPACE, *sets,
               cwd=folder, env={**os.environ, "WAKUMIX": str(program)})
    if done.returncode != 0:
        sys.exit(f"FAILED: deploy/helm/identities: {done.stderr}")
    return pathlib.Path(folder, f"{secret}.yaml"), pathlib.Path(folder, f"{secret}-values.yaml")


def first(objects, kind, ending=""):
    return next(o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(ending))


def container(objects, kind="StatefulSet"):
    return next(t for o, t in rules.templates(objects) if o["kind"] == kind)["spec"]["containers"][0]


def breaks():
    """One or more mistakes for each rule; each must be refused by that rule."""
    def spec(o, kind="StatefulSet", ending=""):
        return first(o, kind, ending)["spec"]

    def pod(o):
        return spec(o)["template"]["spec"]

    return {
        "names_are_unique": [lambda o: o.append(copy.deepcopy(o[0])), lambda o: first(o, "Service")["metadata"].update(name="n" * 64)],
        "selectors_find_pods": [
            lambda o: spec(o)["selector"]["matchLabels"].update(app="other"),
            lambda o: spec(o, "Service")["selector"].update({"app.kubernetes.io/name": "other"}),
            lambda o: spec(o, "PodDisruptionBudget")["selector"]["matchLabels"].update(app="other"),
            lambda o: spec(o, "NetworkPolicy")["podSelector"]["matchLabels"].update(app="other"),
            lambda o: spec(o, "ServiceMonitor")["selector"]["matchLabels"].update(app="other"),
            lambda o: spec(o, "ServiceMonitor")["selector"]["matchLabels"].pop("wakumix/service"),
            lambda o: spec(o, "ServiceMonitor")["endpoints"][0].update(port="metricz"),
        ],
        "ports_exist": [
            lambda o: container(o)["ports"][0].update(name="a-name-too-long-"),
            lambda o: container(o)["ports"].append({"name": "again", "containerPort": container(o)["ports"][0]["containerPort"]}),
            lambda o: container(o)["readinessProbe"]["httpGet"].update(port="metricz"),
            lambda o: container(o).update(livenessProbe={"exec": {"command": ["curl"]}}),
            lambda o: first(o, "Service")["spec"]["ports"][0].update(targetPort="metricz"),
            lambda o: spec(o, "NetworkPolicy", "-edge")["ingress"][0]["ports"][0].update(port="metricz"),
            lambda o: spec(o, "TLSRoute")["rules"][0]["backendRefs"][0].update(port=444),
        ],
        "volumes_agree": [
            lambda o: container(o)["volumeMounts"][0].update(name="other"),
            lambda o: pod(o)["volumes"].append({"name": "unused", "emptyDir": {}}),
            lambda o: pod(o)["volumes"].append({"name": "data", "emptyDir": {}}),
            lambda o: pod(o)["volumes"][0]["configMap"].update(name="other"),
            lambda o: container(o)["env"].pop(0),
            lambda o: first(o, "ConfigMap")["data"].popitem(),
            lambda o: first(o, "Secret")["stringData"].popitem(),
        ],
        "services_of_sets_exist": [lambda o: spec(o).update(serviceName="other"), lambda o: spec(o, "Service").pop("publishNotReadyAddresses")],
        "environment_is_clean": [
            lambda o: container(o)["env"].append({"name": "A=B", "value": "1"}),
            lambda o: container(o)["env"].append({"name": "WAKUMIX_NODEKEY", "value": "00"}),
            lambda o: container(o)["env"].append({"name": "FINE", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}),
            lambda o: container(o)["env"].append({"name": "LATE", "value": "$(LATER)"}),
            lambda o: container(o).update(envFrom=[{"secretRef": {"name": "a"}}]),
            lambda o: pod(o).pop("enableServiceLinks"),
            lambda o: first(o, "ConfigMap")["data"].update(more='nodekey: "00"\n'),
        ],
        "pods_are_restricted": [
            lambda o: pod(o).pop("automountServiceAccountToken"),
            lambda o: pod(o).update(hostNetwork=True),
            lambda o: pod(o)["securityContext"].update(runAsUser=0),
            lambda o: pod(o)["securityContext"].pop("seccompProfile"),
            lambda o: pod(o)["securityContext"].update(sysctls=[{"name": "kernel.shm_rmid_forced", "value": "1"}]),
            lambda o: pod(o)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
            lambda o: next(v for v in pod(o)["volumes"] if "secret" in v)["secret"].pop("defaultMode"),
            lambda o: container(o)["securityContext"].update(allowPrivilegeEscalation=True),
            lambda o: container(o)["securityContext"].pop("readOnlyRootFilesystem"),
            lambda o: container(o)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
            lambda o: container(o)["ports"][0].update(hostPort=60000),
            lambda o: container(o).update(command=["/bin/sh"]),
        ],
        "resources_fit": [
            lambda o: container(o)["resources"]["requests"].update(cpu=2),
            lambda o: container(o)["resources"]["requests"].update(memory="2Gi"),
            lambda o: container(o)["resources"].pop("limits"),
        ],
        "nodes_have_time_to_stop": [lambda o: pod(o).update(terminationGracePeriodSeconds=20), lambda o: pod(o).pop("terminationGracePeriodSeconds") and first(o, "ConfigMap")["data"].update(a='drain-timeout: "1m"')],
        "budget_keeps_the_pool": [
            lambda o: spec(o, "PodDisruptionBudget").update(minAvailable=3),
            lambda o: spec(o, "PodDisruptionBudget").update(minAvailable=8),
            lambda o: spec(o, "PodDisruptionBudget").update(minAvailable="50%"),
            lambda o: spec(o, "PodDisruptionBudget")["selector"]["matchLabels"].update({"app.kubernetes.io/component": "edge"}),
            lambda o: o.remove(first(o, "PodDisruptionBudget")),
        ],
        "policies_deny_first": [
            lambda o: o.remove(first(o, "NetworkPolicy", "-deny")),
            lambda o: spec(o, "NetworkPolicy", "-edge")["ingress"][1].pop("from"),
            lambda o: spec(o, "NetworkPolicy", "-edge")["ingress"].append({}),
        ],
    }


def check_that_rules_refuse(objects):
    faults = rules.faults(objects)
    if faults:
        fail(f"the objects to be broken are not right: {faults}")
    mistakes = breaks()
    for missing in {r.__name__ for r in rules.RULES} - set(mistakes):
        fail(f"no mistake shows that {missing} refuses one")
    count = 0
    for rule, changes in mistakes.items():
        for number, change in enumerate(changes):
            broken = copy.deepcopy(objects)
            change(broken)
            if not any(fault.startswith(f"{rule}: ") for fault in rules.faults(broken)):
                fail(f"{rule} does not refuse mistake {number}")
            count += 1
    # A schema must refuse a field that does not exist.
    broken = copy.deepcopy(first(objects, "StatefulSet"))
    broken["spec"]["replicaz"] = 1
    try:
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)
        fail("the schema of Kubernetes takes a field that does not exist")
    except kubernetes_validate.ValidationError:
        pass
    return count


# Values that cannot work, and what must be said of them. They change the example `full`, or another where it is named.
REFUSED = [
    ("{nodeSetz: {}}", "nodeSetz"),
    ("{nodeSets: {mixer: {replicaz: 3}}}", "replicaz"),
    ("{nodeSets: {mixer: {replicas: 0}}}", "replicas"),
    ("{nodeSets: {mixer: {roles: [miner]}}}", "roles"),
    ("{nodeSets: {Mixer: {roles: [mixer]}}}", "Mixer"),
    ("{nodeSets: {mixer: {drainTimeout: 20}}}", "drainTimeout"),
    ("{nodeSets: {mixer: {drainTimeout: 2h}}}", "drainTimeout"),
    ("{nodeSets: {mixer: {addresses: {mode: hostPort}}}}", "mode"),
    ("{nodeSets: {mixer: {addresses: {mode: nodePort, firstNodePort: 60000}}}}", "firstNodePort"),
    ("{nodeSets: {mixer: {addresses: {mode: list, ips: [node.example.org]}}}}", "ips"),
    ("{nodeSets: {mixer: {resources: {requests: {cpu: two}}}}}", "cpu"),
    ("{nodeSets: {mixer: {config: {mixer: {a: {b: 1}}}}}}", "config"),
    ("{image: {repository: ''}}", "repository"),
    ("{image: {digest: latest}}", "digest"),
    ("{network: {minimumPool: 3}}", "minimumPool"),
    ("{network: {preset: main}}", "preset"),
    ("{identities: {peers: {wakumix-mixer-0: Qm}}}", "peers"),
    ("{gateway: {apiVersion: v1}}", "apiVersion"),
    ("{nodeSets: {more: {replicas: 1}}}", "nodeSets.more.roles is missing"),
    ("{nodeSets: {mixer: {replicas: 3}}}", "below network.minimumPool, 4; add replicas"),
    ("{identities: {secretName: ''}}", "set identities.secretName"),
    ("{identities: {peers: null}}", "know no node to begin from"),
    ("{network: {closed: false}}", "addresses.mode is podIP"),
    ("{nodeSets: {mixer: {addresses: {mode: list, ips: [192.0.2.1]}}}}", "1 addresses for 5 replicas"),
    ("{nodeSets: {mixer: {addresses: {mode: nodePort}}, exit: {addresses: {mode: nodePort, firstNodePort: 31604}}}}", "31604 is also of nodeSets.exit"),
    ("{nodeSets: {mixer: {addresses: {mode: nodePort, firstNodePort: 32766}}}}", "above 32767"),
    ("{nodeSets: {mixer: {websocket: {enabled: true, domain: a.example}}}}", "websocket.secretName is missing"),
    ("{nodeSets: {mixer: {websocket: {enabled: true, secretName: a}}}}", "websocket.domain is missing"),
    ("{nodeSets: {sender: {rest: {allowInsecure: false}}}}", "set rest.tokenSecret"),
    ("{nodeSets: {sender: {rest: {from: []}}}}", "rest.from is empty"),
    ("{nodeSets: {mixer: {config: {tcp-port: 1}}}}", "config.tcp-port: the chart writes this key"),
    ("{network: {config: {nat: any}}}", "config.nat: the chart writes this key"),
    ("{nodeSets: {mixer: {config: {keys: {directory: /tmp}}}}}", "config.keys.directory: the chart keeps keys"),
    ("{load: {nodeSet: nobody}}", "there is no nodeSets.nobody"),
    ("{load: {nodeSet: mixer}}", "needs the sender role and rest.enabled"),
    ("{gateway: {enabled: true}}", "gateway.parentRefs is empty"),
    ("{gateway: {enabled: true, parentRefs: [{name: a}]}}", "nothing to route to"),
]
# The same, on the default values.
REFUSED_ALONE = [
    ("{network: {preset: ''}}", "know no node to begin from"),
    ("{nodeSets: {mixer: {roles: [mixer]}}}", "set identities.secretName"),
    ("{identities: {secretName: a}, nodeSets: {relay: {roles: [relay]}}}", "addresses.mode is podIP"),
    ("{identities: {secretName: a}, nodeSets: {mixer: {roles: [mixer], addresses: {mode: nodePort}, persistence: {enabled: false}}}}", "replay tags"),
    ("{load: {enabled: true}}", "needs the sender role and rest.enabled"),
]


def check_refusals():
    full = ["--values", CHART / "examples/full.yaml"]
    with tempfile.TemporaryDirectory() as folder:
        for number, (base, change, said) in enumerate([(full, *case) for case in REFUSED] + [([], *case) for case in REFUSED_ALONE]):
            values = pathlib.Path(folder, f"{number}.yaml")
            values.write_text(change)
            done = template(*base, "--values", values)
            if done.returncode == 0:
                fail(f"values {change} are taken")
            elif said not in done.stderr:
                fail(f"values {change}: {said!r} is not said, but: {done.stderr}")
    long = run("helm", "template", "a-release-of-a-name-of-fewer-than-53-letters", CHART)
    if "shorten the release" not in long.stderr:
        fail(f"a release whose names are too long: {long.stderr}")


def paths(values, above=""):
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and value and path not in ("nodeSets", "dashboards.labels"):
            yield from paths(value, f"{path}.")
        else:
            yield path


def check_documentation():
    """Every value is in the table of the chart's README and in the schema, and the reverse."""
    values = set(paths(yaml.safe_load((CHART / "values.yaml").read_text())))
    # Examples of amounts, whose names belong to Kubernetes.
    values = {re.sub(r"(requests|limits)\.\w+$", r"\1", path) for path in values}
    listed = set(re.findall(r"^\| `([^`]+)` \|", (CHART / "README.md").read_text(), re.M))
    for path in values ^ listed:
        fail(f"{path} is {'a value that README.md of the chart does not have' if path in values else 'in README.md of the chart, and no value'}")

    def schemas(schema, above=""):
        for key, value in schema.get("properties", {}).items():
            if value.get("type") == "object" and value.get("properties") and key not in ("requests", "limits"):
                yield from schemas(value, f"{above}{key}.")
            else:
                yield f"{above}{key}"

    schema = json.loads((CHART / "values.schema.json").read_text())
    for path in values ^ (set(schemas(schema)) - {"global"}):
        fail(f"{path} is in only one of values.yaml and values.schema.json")


def check_monitoring(objects):
    """The chart carries rules and dashboards as they are."""
    for name in ("rules", "alerts"):
        if first(objects, "PrometheusRule", f"-{name}")["spec"] != yaml.safe_load((ROOT / f"deploy/prometheus/{name}.yaml").read_text()):
            fail(f"the PrometheusRule of {name} is not deploy/prometheus/{name}.yaml")
    carried = {key: json.loads(text) for o in rules.of_kind(objects, "ConfigMap") for key, text in o["data"].items() if key.endswith(".json")}
    if carried != {path.name: json.loads(path.read_text()) for path in (ROOT / "deploy/grafana").glob("*.json")}:
        fail("the ConfigMaps of dashboards are not the files of deploy/grafana")
    if first(objects, "ServiceMonitor")["spec"].get("jobLabel") != "app.kubernetes.io/instance":
        fail("rules and dashboards are by job: all sets of a release must be one")


def overlay(name):
    done = run("kubectl", "kustomize", OVERLAYS / name)
    if done.returncode != 0:
        fail(f"overlay {name}: {done.stderr}")
        return []
    return parse(done.stdout)


def rendered(name):
    """What the overlay's file of manifests holds: the chart with the example of that name."""
    done = template("--values", CHART / f"examples/{name}.yaml")
    if done.returncode != 0:
        sys.exit(f"FAILED: example {name}: {done.stderr}")
    return "# Rendered from deploy/helm/wakumix; after a change there: integration-tests/deploy/run --write\n" + done.stdout


def main(program):
    lint = run("helm", "lint", "--strict", CHART)
    if lint.returncode != 0:
        fail(f"helm lint: {lint.stdout}{lint.stderr}")
    check_documentation()
    configurations = 0
    with tempfile.TemporaryDirectory() as folder:
        secret, values = identities(program, folder, "mixer=2", "exit=2", "edge=1")
        if run(ROOT / "deploy/helm/identities", "wakumix-identities", RELEASE, NAMESPACE, "mixer=1", cwd=folder,
               env={**os.environ, "WAKUMIX": str(program)}).returncode == 0:
            fail("deploy/helm/identities overwrites keys")
        if secret.stat().st_mode & 0o077:
            fail("deploy/helm/identities leaves its keys to others")
        made = yaml.safe_load(secret.read_text())["stringData"]
        cases = {"default values": ([], {})}
        for example in sorted((CHART / "examples").glob("*.yaml")):
            keys = OVERLAYS / example.stem / "identities.yaml"
            cases[example.name] = (["--values", example], yaml.safe_load(keys.read_text())["stringData"] if keys.is_file() else made)
        # With a token, in a release whose network has no preset.
        cases["token"] = (["--values", CHART / "examples/public-mixers.yaml", "--values", values, "--set", "nodeSets.mixer.rest.enabled=true",
                           "--set", "nodeSets.mixer.rest.tokenSecret=rest", "--set-json", 'nodeSets.mixer.rest.from=[{"podSelector":{}}]'], made)
        for where, (arguments, keys) in cases.items():
            if run("helm", "lint", "--strict", CHART, *arguments).returncode != 0:
                fail(f"{where}: helm lint refuses it")
            done = template(*arguments)
            if done.returncode != 0:
                fail(f"{where}: {done.stderr}")
                continue
            objects = parse(done.stdout)
            check_schema(where, objects)
            check_rules(where, objects)
            configurations += check_configurations(where, objects, program, keys)
            if where == "public-mixers.yaml":
                check_monitoring(objects)
        # The peer ids of the demo networks are those of their keys.
        for name in RENDERED:
            values = yaml.safe_load((CHART / f"examples/{name}.yaml").read_text())
            sets = [f"{s}={v.get('replicas', 1)}" for s, v in values["nodeSets"].items()]
            secret, peers = identities(program, folder, *sets, demo=True, secret=f"{name}-demo")
            if yaml.safe_load(peers.read_text())["identities"]["peers"] != values["identities"]["peers"]:
                fail(f"example {name}: its peer ids are not those of its demo keys")
            if yaml.safe_load(secret.read_text())["stringData"] != yaml.safe_load((OVERLAYS / name / "identities.yaml").read_text())["stringData"]:
                fail(f"overlay {name}: identities.yaml is not what deploy/helm/identities --demo makes")
    overlays = sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))
    for name in overlays:
        if name in RENDERED and (OVERLAYS / name / "nodes.yaml").read_text() != rendered(name):
            fail(f"overlay {name}: nodes.yaml is not what the chart renders; run integration-tests/deploy/run --write")
        objects = overlay(name)
        check_schema(f"overlay {name}", objects)
        check_rules(f"overlay {name}", objects)
        keys = next((o["stringData"] for o in objects if o["kind"] == "Secret"), {})
        configurations += check_configurations(f"overlay {name}", objects, program, keys)
    edge = parse(template("--values", CHART / "examples/browser-edge.yaml", "--set", "serviceMonitor.enabled=true").stdout)
    edge.append(yaml.safe_load((OVERLAYS / "browser-edge/identities.yaml").read_text()))
    mistakes = check_that_rules_refuse(edge)
    check_refusals()
    if failures:
        sys.exit(f"FAILED: {len(failures)} faults in deploy/")
    print(f"{len(cases)} sets of values and {len(overlays)} overlays are valid for Kubernetes {' and '.join(VERSIONS)} and pass {len(rules.RULES)} rules; "
          f"{configurations} configurations pass the node's own check; {mistakes} mistakes and {len(REFUSED) + len(REFUSED_ALONE) + 1} sets of values are refused")


if sys.argv[1] == "--write":
    for name in RENDERED:
        (OVERLAYS / name / "nodes.yaml").write_text(rendered(name))
else:
    main(pathlib.Path(sys.argv[1]))
