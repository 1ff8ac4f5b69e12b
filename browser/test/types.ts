// What an app writes, as the compiler sees it: the types of js-waku and of js-libp2p fit without a cast.

import type { ILightPush, LightNode } from "@waku/interfaces";
import type { Libp2p } from "libp2p";

import { createMixClient, createMixLightPush } from "../dist/index.js";

export async function withWaku(node: LightNode): Promise<ILightPush> {
  node.lightPush = await createMixLightPush(node, { bootstrap: [] });
  return node.lightPush;
}

export async function withLibp2p(libp2p: Libp2p): Promise<string> {
  const mix = await createMixClient({ libp2p });
  const { outcome } = await mix.push({ payload: new Uint8Array(), contentTopic: "/types/1/test/proto" });
  return outcome;
}
