export {
  createMixClient,
  type MixClient,
  type MixEvents,
  type MixNodeOption,
  type MixOptions,
  type MixOutcome,
  type MixPush,
  type MixStatus,
  type PushOptions,
} from "./client.js";
export type { WasmSource } from "./engine.js";
export { MixError, type MixErrorCode } from "./errors.js";
export type { Libp2p } from "./libp2p.js";
export { createMixLightPush, type MixLightPush, type MixSendOptions, type MixSendResult, type WakuNode } from "./light-push.js";
export { indexedDbStore, type MixStore } from "./storage.js";
