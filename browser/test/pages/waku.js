// An app on js-waku: its light node with `lightPush` replaced, and `send` as it is.

import { generateKeyPair } from "@libp2p/crypto/keys";
import { createLightNode } from "@waku/sdk";
import { createMixLightPush } from "@wakumix/browser";

import { serve } from "./serve.js";

async function makeNode({ keyType = "secp256k1", cluster }) {
  const node = await createLightNode({
    defaultBootstrap: false,
    discovery: { dns: false, peerExchange: false, peerCache: false },
    networkConfig: { clusterId: cluster, numShardsInCluster: 1 },
    libp2p: { privateKey: await generateKeyPair(keyType), filterMultiaddrs: false },
  });
  await node.start();
  return node;
}

async function makeClient(node, options) {
  node.lightPush = await createMixLightPush(node, options);
  return { node, mix: node.lightPush };
}

async function push({ node }, { payload, contentTopic }) {
  const encoder = node.createEncoder({ contentTopic, shardId: 0 });
  const { successes, failures, mix } = await node.lightPush.send(encoder, { payload });
  if (successes.length + failures.length !== 1) throw new Error("neither a success nor a failure");
  if (mix.isConfirmed !== (successes.length === 1)) throw new Error("the SDK's result says something else than the outcome");
  return { ...mix, error: failures[0]?.error };
}

serve({ makeNode, makeClient, push, clientOf: ({ mix }) => mix.client, libp2pOf: (node) => node.libp2p });
