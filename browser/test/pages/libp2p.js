// An app on js-libp2p 3.

import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { generateKeyPair } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import { ping } from "@libp2p/ping";
import { webSockets } from "@libp2p/websockets";
import { createMixClient } from "@wakumix/browser";
import { createLibp2p } from "libp2p";

import { serve } from "./serve.js";

async function makeNode({ keyType = "secp256k1" }) {
  return await createLibp2p({
    privateKey: await generateKeyPair(keyType),
    transports: [webSockets()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify(), ping: ping() },
    connectionManager: { reconnectRetries: 0 },
    connectionGater: { denyDialMultiaddr: () => false },
  });
}

serve({
  makeNode,
  makeClient: async (node, options) => createMixClient({ libp2p: node, ...options }),
  push: async (client, message, options) => client.push(message, options),
  clientOf: (client) => client,
  libp2pOf: (node) => node,
});
