// A net of real nodes, one process each, on loopback: a relay, mixers, exits that relay and serve lightpush. All of them have
// a WebSocket listener and find each other by discv5 from the record of the relay.

import { execFileSync, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

export const PUBSUB_TOPIC = "/waku/2/rs/66/0";
export const CONTENT_TOPIC = "/browser/1/test/proto";
export const CLUSTER = 66;

/** Waits until `look` gives something; what it waited for stands in the error. */
export async function until(what, look, limitMs = 60_000) {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const found = await Promise.resolve(look()).catch(() => undefined);
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${limitMs} ms in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise((resolve) => {
      const server = createServer().listen(0, "127.0.0.1", () => resolve(server));
    })),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export class Net {
  nodes = new Map();

  constructor(program, folder) {
    this.program = program;
    this.folder = folder;
  }

  /** Starts so many of each, and waits until every mix node knows every other. */
  async start({ mixers = 6, exits = 2, flags = [] } = {}) {
    await this.add("relay-1", "relay", flags);
    const record = await until("the record of the relay", () => this.run("enr", "show", "--via", this.nodes.get("relay-1").rest));
    const more = [...flags, `--discv5-bootstrap-node=${record}`];
    const mixing = [];
    for (let at = 1; at <= mixers; at += 1) mixing.push([`mixer-${at}`, "mixer"]);
    for (let at = 1; at <= exits; at += 1) mixing.push([`exit-${at}`, "relay,mixer,exit"]);
    for (const [name, roles] of mixing) await this.add(name, roles, more);
    for (const [name] of mixing) {
      const { rest } = this.nodes.get(name);
      await until(`${name} to know the others`, async () => {
        const { nodes } = await (await fetch(`${rest}/admin/v1/pool`)).json();
        return nodes.filter(({ state }) => state === "usable").length >= mixing.length - 1;
      });
    }
    return this;
  }

  async add(name, roles, flags) {
    const [tcp, ws, rest] = await freePorts(3);
    const log = createWriteStream(join(this.folder, `${name}.log`));
    const args = [
      "node", "--preset=local", `--roles=${roles}`, "--listen-address=127.0.0.1", `--tcp-port=${tcp}`, "--websocket-support=true",
      `--websocket-port=${ws}`, "--rest=true", `--rest-port=${rest}`, "--discv5-discovery=true", `--discv5-udp-port=${tcp}`, ...flags,
    ];
    const child = spawn(this.program, args, { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const node = { name, child, ended, rest: `http://127.0.0.1:${rest}` };
    this.nodes.set(name, node);
    const info = await until(`${name} to answer`, async () => {
      if (child.exitCode !== null) throw new Error(`${name} has ended`);
      return (await fetch(`${node.rest}/debug/v1/info`)).json();
    });
    node.ws = info.listenAddresses.find((address) => /\/ws\/p2p\//.test(address) || /\/ws$/.test(address));
    node.peer = info.listenAddresses[0].split("/p2p/")[1];
    return node;
  }

  run(...args) {
    return execFileSync(this.program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  }

  /** Ends a node without warning. */
  async kill(name) {
    const node = this.nodes.get(name);
    node.child.kill("SIGKILL");
    await node.ended;
    this.nodes.delete(name);
    return node;
  }

  byPeer(peer) {
    return [...this.nodes.values()].find((node) => node.peer === peer);
  }

  /** Payloads that the relay has got since this was asked last, as text. */
  async arrived() {
    const { rest } = this.nodes.get("relay-1");
    const messages = await (await fetch(`${rest}/relay/v1/messages/${encodeURIComponent(PUBSUB_TOPIC)}`)).json();
    return messages.map(({ payload }) => Buffer.from(payload, "base64").toString());
  }

  async stop() {
    for (const { child, ended } of this.nodes.values()) {
      child.kill("SIGTERM");
      await ended;
    }
  }
}
