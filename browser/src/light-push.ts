import { MixClient, type MixOptions, type MixOutcome } from "./client.js";
import type { Node, PeerId } from "./libp2p.js";

/** What this package needs of a node of js-waku: `createLightNode` makes one. */
export interface WakuNode {
  readonly libp2p: { readonly peerId: { toString(): string } };
}

interface ProtoMessage {
  payload: Uint8Array;
  contentTopic: string;
  version?: number | undefined;
  timestamp?: bigint | undefined;
  meta?: Uint8Array | undefined;
  rateLimitProof?: unknown;
  ephemeral?: boolean | undefined;
}

/** An encoder of js-waku. */
interface Encoder<M> {
  readonly pubsubTopic: string;
  toProtoObj(message: M): Promise<ProtoMessage | undefined>;
}

/** What `send` takes: the SDK's options, and a signal. */
export interface MixSendOptions {
  signal?: AbortSignal;
  /** The SDK's; without effect: retries are the engine's. */
  autoRetry?: boolean;
  maxAttempts?: number;
  useLegacy?: boolean;
}

/** What the SDK's `send` gives, with the outcome of the mix client beside it. */
export interface MixSendResult<P, E> {
  successes: P[];
  failures: { error: E; peerId?: P }[];
  mix: MixOutcome;
}

/** The SDK's words for an error. */
const WORDS: Record<string, string> = {
  too_large: "Size is too big",
  invalid_message: "Message validation failed",
  refused: "Remote peer rejected",
  exit_refused: "Remote peer rejected",
  deadline: "No response received",
  no_replies: "No response received",
  service_unreachable: "No response received",
  bad_answer: "Failed to decode",
  busy: "Rate limit exceeded",
  stopped: "Stream aborted",
  pool_too_small: "No peer available",
  too_few_subnets: "No peer available",
  no_exit: "No peer available",
  no_guard: "No peer available",
  no_connected_hop: "No peer available",
  no_reply_address: "No peer available",
  no_service: "No peer available",
  first_hop_failed: "No stream available",
  dial_failed: "No peer available",
  unsupported: "No peer available",
  stream_failed: "Stream aborted",
};

/** Makes what replaces a js-waku node's `lightPush`: `node.lightPush = await createMixLightPush(node, …)`. */
export async function createMixLightPush(node: WakuNode, options: MixOptions = {}): Promise<MixLightPush> {
  const cluster = options.cluster ?? clusterOf(node);
  const client = await MixClient.start(node.libp2p as unknown as Node, cluster === undefined ? options : { ...options, cluster });
  return new MixLightPush(client, node.libp2p.peerId as unknown as PeerId);
}

/** The cluster that the SDK's node was made for. */
function clusterOf(node: WakuNode): number | undefined {
  const { networkConfig } = node as { networkConfig?: { clusterId?: unknown } };
  return typeof networkConfig?.clusterId === "number" ? networkConfig.clusterId : undefined;
}

/** The SDK's `ILightPush`, over the mixnet. `send` ignores the SDK's options of retrying: the engine has rules of its own. */
export class MixLightPush {
  readonly multicodec = ["/vac/waku/lightpush/3.0.0"];

  /** @internal */
  constructor(
    /** The client underneath: its status, its events, and `push` for messages without an encoder. */
    readonly client: MixClient,
    private readonly own: PeerId,
  ) {}

  /** The client has started; this is for the SDK, which calls it. */
  start(): void {}

  /** Ends open requests and the client. */
  stop(): void {
    void this.client.stop();
  }

  /**
   * Sends a message as the SDK does. A success names the page's own peer id: which exit published the message is nobody's
   * business.
   */
  // The types of peer ids and error words are the SDK's, which this package does not import.
  async send<M extends { timestamp?: Date }>(encoder: Encoder<M>, message: M, options: MixSendOptions = {}): Promise<MixSendResult<never, never>> {
    const proto = await encoder.toProtoObj(message);
    if (proto === undefined) return result(failed("invalid_message", "the encoder gave no message"), this.own);
    if (proto.rateLimitProof !== undefined) {
      return result(failed("invalid_message", "messages with an RLN proof are not supported yet"), this.own);
    }
    const push = {
      payload: proto.payload,
      contentTopic: proto.contentTopic,
      pubsubTopic: encoder.pubsubTopic,
      ...(proto.version === undefined ? {} : { version: proto.version }),
      // The SDK would put in the millisecond of sending, which tells who sent; the engine draws a coarse time.
      ...(message.timestamp === undefined || proto.timestamp === undefined ? {} : { timestamp: proto.timestamp }),
      ...(proto.meta === undefined ? {} : { meta: proto.meta }),
      ...(proto.ephemeral === undefined ? {} : { ephemeral: proto.ephemeral }),
    };
    return result(await this.client.push(push, options.signal === undefined ? {} : { signal: options.signal }), this.own);
  }
}

function failed(outcome: string, message: string): MixOutcome {
  return { outcome, isConfirmed: false, message, tries: 0, packets: 0, exposure: { guards: 0, exits: 0, replyPaths: 0 } };
}

function result(mix: MixOutcome, own: PeerId): MixSendResult<never, never> {
  const error = WORDS[mix.outcome] ?? "Generic error";
  const found: MixSendResult<unknown, string> = mix.isConfirmed
    ? { successes: [own], failures: [], mix }
    : { successes: [], failures: [{ error }], mix };
  return found as MixSendResult<never, never>;
}
