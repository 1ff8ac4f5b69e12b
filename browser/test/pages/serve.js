// What a test asks of a page, whichever stack the page has: `window.app`.

import { MixError, indexedDbStore } from "@wakumix/browser";

const text = new TextEncoder();

/** A payload of so many bytes that begins with a name. */
function payload(name, size) {
  const bytes = new Uint8Array(Math.max(size, name.length)).fill(46);
  bytes.set(text.encode(name));
  return bytes.subarray(0, size);
}

export function serve({ makeNode, makeClient, push, clientOf, libp2pOf }) {
  let node;
  let made;
  const events = [];

  window.app = {
    /** Makes node and client; what went wrong, if something did. */
    async start(options) {
      try {
        node ??= await makeNode(options);
        const { keyType, keeps, ...rest } = options;
        made = await makeClient(node, { ...rest, ...(keeps ? { store: indexedDbStore("test") } : {}) });
        const client = clientOf(made);
        for (const kind of ["ready", "pool", "outcome"]) client.on(kind, (detail) => events.push({ kind, detail, at: performance.now() }));
        return { ok: true };
      } catch (error) {
        return { ok: false, isMixError: error instanceof MixError, code: error.code, message: error.message };
      }
    },
    ready: async () => clientOf(made).ready(),
    status: () => clientOf(made).status(),
    events: () => events,
    send: (name, size = name.length, contentTopic = "/browser/1/test/proto", options = {}) =>
      push(made, { payload: payload(name, size), contentTopic, pubsubTopic: options.pubsubTopic ?? "/waku/2/rs/66/0" }, options),
    sendAll: (names, size) => Promise.all(names.map((name) => window.app.send(name, size ?? name.length))),
    async sendAborted(name) {
      const controller = new AbortController();
      const sent = clientOf(made).push({ payload: payload(name, 20), contentTopic: "/browser/1/test/proto", pubsubTopic: "/waku/2/rs/66/0" }, { signal: controller.signal });
      controller.abort(new Error("the user has left"));
      return sent.then(() => "resolved", (error) => error.message);
    },
    peers: () => libp2pOf(node).getConnections().map(({ remotePeer }) => remotePeer.toString()),
    addresses: () => libp2pOf(node).getConnections().map(({ remoteAddr }) => remoteAddr.toString()),
    memory: () => clientOf(made).engine.memoryBytes,
    stop: async () => {
      await clientOf(made).stop();
      await node.stop();
    },
  };
}
