"""Runs the overlay `full` as rendered: network.py PROGRAM

Each pod is a process in a network namespace of its own, with the pod's file, key, arguments and variables, and the names of its
Services. Every node must become ready by its own probe, the arguments of the load job must get messages answered, a node that
is restarted on its volume must keep its mix key, and SIGTERM must end each with exit code 0. Needs root, ip and curl.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import yaml

import rules

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWITCH = "wakumix-switch"


def output(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def must(*command):
    done = output(*command)
    if done.returncode != 0:
        sys.exit(f"FAILED: {' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


class Pod:
    def __init__(self, name, o, address, folder):
        self.name, self.address, self.folder = name, address, pathlib.Path(folder, name)
        self.container = o["spec"]["template"]["spec"]["containers"][0]
        self.process = None

    def moved(self, text):
        return text.replace("/etc/wakumix", str(self.folder)).replace("/data", f"{self.folder}/data")

    def within(self, *command):
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def start(self, program):
        values, environment = {"metadata.name": self.name, "status.podIP": self.address}, {}
        for variable in self.container["env"]:
            raw = variable.get("value") or values[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda m: environment[m[1]], raw)
        arguments = [self.moved(argument) for argument in self.container["args"]]
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(self.within(program, *arguments), env={"PATH": os.environ["PATH"], **environment}, stderr=log)

    def is_ready(self):
        probe = self.container["readinessProbe"]["httpGet"]
        [port] = [p["containerPort"] for p in self.container["ports"] if p["name"] == probe["port"]]
        return output(*self.within("curl", "-sf", "-m", 5, f"http://{self.address}:{port}{probe['path']}")).returncode == 0

    def stop(self):
        self.process.terminate()
        code = self.process.wait(60)
        if code != 0:
            sys.exit(f"FAILED: {self.name} ends with {code} after SIGTERM")


def until_ready(pods):
    deadline = time.monotonic() + 120
    while missing := [pod for pod in pods if not pod.is_ready()]:
        if time.monotonic() > deadline:
            logs = "".join((pod.folder / "log").read_text()[-2000:] for pod in missing)
            sys.exit(f"FAILED: not ready: {', '.join(pod.name for pod in missing)}\n{logs}")
        time.sleep(0.5)


def main(program, folder, made):
    objects = [o for o in yaml.safe_load_all(must("kubectl", "kustomize", ROOT / "deploy/kustomize/full")) if o]
    maps, [secret] = rules.named(objects, "ConfigMap"), rules.of_kind(objects, "Secret")
    found = [(name, o) for o in rules.of_kind(objects, "StatefulSet") for name, _, _ in rules.pod_labels([o])]
    pods = [Pod(name, o, f"10.9.0.{10 + index}", folder) for index, (name, o) in enumerate(found)]

    hosts = "127.0.0.1 localhost\n"
    for service in rules.of_kind(objects, "Service"):
        for pod, (_, o) in zip(pods, found):
            labels = {**rules.labels(o["spec"]["template"]), "statefulset.kubernetes.io/pod-name": pod.name}
            if rules.selects(service["spec"]["selector"], labels):
                hosts += f"{pod.address} {service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local\n"

    must("ip", "netns", "add", SWITCH)
    made.append(SWITCH)
    must("ip", "-n", SWITCH, "link", "add", "bridge0", "type", "bridge")
    must("ip", "-n", SWITCH, "link", "set", "bridge0", "up")
    for index, pod in enumerate(pods):
        must("ip", "netns", "add", pod.name)
        made.append(pod.name)
        files = pathlib.Path("/etc/netns", pod.name)
        files.mkdir(parents=True)
        (files / "hosts").write_text(hosts)
        # Nobody answers there: names come from the file alone.
        (files / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        must("ip", "link", "add", f"pod{index}", "netns", SWITCH, "type", "veth", "peer", "name", "eth0", "netns", pod.name)
        must("ip", "-n", SWITCH, "link", "set", f"pod{index}", "master", "bridge0", "up")
        must("ip", "-n", pod.name, "addr", "add", f"{pod.address}/24", "dev", "eth0")
        must("ip", "-n", pod.name, "link", "set", "eth0", "up")
        must("ip", "-n", pod.name, "link", "set", "lo", "up")
        (pod.folder / "data").mkdir(parents=True)
        (pod.folder / "identity").mkdir()
        (pod.folder / "identity/nodekey").write_text(secret["stringData"][pod.name])
        (pod.folder / "identity/nodekey").chmod(0o440)
        (pod.folder / "wakumix.yaml").write_text(pod.moved(maps[found[index][1]["metadata"]["name"]]["data"][f"{pod.name}.yaml"]))
    try:
        for pod in pods:
            pod.start(program)
        until_ready(pods)
        mixer = next(pod for pod in pods if pod.name == "wakumix-mixer-1")
        before = sorted(path.name for path in (mixer.folder / "data/keys").glob("*.key"))
        mixer.stop()
        mixer.start(program)
        until_ready(pods)
        after = sorted(path.name for path in (mixer.folder / "data/keys").glob("*.key"))
        if not before or before != after:
            sys.exit(f"FAILED: {mixer.name} had the mix keys {before} before a restart and has {after}")
        job = next(template for o, template in rules.templates(objects) if o["kind"] == "CronJob")["spec"]["containers"][0]
        messages = 5
        for _ in range(messages):
            must(*mixer.within(program, *job["args"]))
        for pod in pods:
            pod.stop()
    finally:
        for pod in pods:
            if pod.process and pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait()
    print(f"the {len(pods)} pods of the overlay full run in network namespaces: ready, {messages} messages answered, mix keys kept, stopped in order")


with tempfile.TemporaryDirectory() as work:
    namespaces = []
    try:
        main(pathlib.Path(sys.argv[1]), work, namespaces)
    finally:
        for namespace in namespaces:
            output("ip", "netns", "delete", namespace)
            shutil.rmtree(f"/etc/netns/{namespace}", ignore_errors=True)
