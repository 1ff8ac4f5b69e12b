import { publicKeyFromProtobuf } from "@libp2p/crypto/keys";

import { dialable, full, isSecp256k1, located, type Located } from "./addresses.js";
import { command, LEFT, type DirectAnswer, type EngineOutcome, type EngineStatus, type Event, type SignatureToCheck, type Target } from "./codec.js";
import { Engine, type WasmSource } from "./engine.js";
import { MixError } from "./errors.js";
import { Hops, MIX_PROTOCOL } from "./hops.js";
import type { AnyStream, Connection, Libp2p, Node, PeerId } from "./libp2p.js";
import type { MixStore } from "./storage.js";
import { frameWriter, readFrames } from "./streams.js";

const DESCRIPTOR_PROTOCOL = "/wakumix/descriptor/1.0.0";
const LIGHTPUSH_PROTOCOL = "/vac/waku/lightpush/3.0.0";
/** The longest packet of any wire profile: 4608 bytes and a proof. */
const MAX_PACKET = 4608 + 1024;
/** The longest answer with descriptors: 32 of 1536 bytes, and what stands around each. */
const MAX_DESCRIPTORS = 32 * (1536 + 3);
/** The longest answer of a lightpush service. */
const MAX_ANSWER = 64 * 1024;
const DIAL_LIMIT_MS = 10_000;
const FETCH_LIMIT_MS = 10_000;
/** Streams of replies from one peer at a time. */
const MAX_INBOUND_STREAMS = 32;
/** The longest limit that the engine takes, in milliseconds. */
const MAX_TIMEOUT_MS = 60_000;

/** A mix node that the app knows. */
export interface MixNodeOption {
  /** Its addresses, each with `/p2p/<peer id>` at the end: `/ip4/…/tcp/…` for packet headers, and `/wss` or `/ws` if pages can connect to it. */
  addresses: string[];
  /** Its mix key, 64 hexadecimal digits. */
  mixKey: string;
  /** Whether it serves lightpush, and can be the exit. */
  lightpush?: boolean;
}

export interface MixOptions {
  /** Addresses of nodes that tell of others, `/dns4/…/tcp/…/wss/p2p/…`. Peers that are connected already do as well. */
  bootstrap?: string[];
  /** Mix nodes that the app knows, beside those that are found. */
  mixNodes?: MixNodeOption[];
  /** The cluster of the network. */
  cluster?: number;
  /** The number of shards of a network that shards by content topic; needed where messages come without pubsub topic. */
  shards?: number;
  /** The wire profile of the network's packets; the nodes must speak it. Default: `lioness/pad`. */
  profile?: string;
  /** `required`: over the mixnet or not at all. `preferred`: directly where the mixnet has been unusable for a minute; the outcome says so. Default: `required`. */
  anonymity?: "required" | "preferred";
  /** How long a message may take, in milliseconds; at most a minute. Default: 10 s. */
  timeoutMs?: number;
  /** Loops of cover traffic, one every so many milliseconds on average. Without it a guard sees when the page sends. */
  cover?: { meanMs: number };
  /** Keeps pool and guards for the next visit: `indexedDbStore()`. Without it each visit draws guards anew. */
  store?: MixStore;
  /** Whether addresses of private networks count: for a test net on one machine. */
  allowPrivateAddresses?: boolean;
  /** Where `engine.wasm` is, if not beside this module. */
  wasm?: WasmSource;
}

export interface MixPush {
  payload: Uint8Array;
  contentTopic: string;
  /** Without it the service derives the shard from the content topic. */
  pubsubTopic?: string;
  version?: number;
  /** Nanoseconds since the Unix epoch. Without it the message gets a coarse one that does not tell when it was sent. */
  timestamp?: bigint;
  meta?: Uint8Array;
  rateLimitProof?: Uint8Array;
  ephemeral?: boolean;
}

export interface PushOptions {
  /** Ends the request; `push` rejects with the signal's reason. What has left may still be published. */
  signal?: AbortSignal;
  timeoutMs?: number;
  anonymity?: "required" | "preferred";
}

/** How a request ended. The codes of `outcome` are those of the node's REST and command line. */
export interface MixOutcome {
  /** `confirmed`, `refused` by the service, or why there is no answer: `deadline`, `pool_too_small`, `no_guard`, … */
  outcome: string;
  /** Whether the service said that the message is published. */
  isConfirmed: boolean;
  /** What went wrong, in words. */
  message?: string;
  /** `direct` only where anonymity is preferred: then the service has seen who sends. */
  delivery?: "mixnet" | "direct";
  /** Why it went directly. */
  directReason?: string;
  /** Lightpush status code. */
  status?: number;
  /** The service's words. */
  description?: string;
  relayPeerCount?: number;
  /** The deterministic hash of the message, `0x…`. */
  messageHash?: string;
  tries: number;
  packets: number;
  /** How often the request was exposed: different guards and exits that saw something of it, and reply paths. */
  exposure: { guards: number; exits: number; replyPaths: number };
  roundTripMs?: number;
}

/** What the client knows. */
export interface MixStatus {
  /** Whether a message could be sent now. */
  isReady: boolean;
  /** What is missing, if something is: a stable code and words. */
  lack?: { code: string; words: string };
  /** Mix nodes that paths can use, and all that are known. */
  pool: { usable: number; known: number };
  /** Guards that are sampled, and those in use that are connected. */
  guards: { sampled: number; connected: number };
  /** Requests that are open. */
  open: number;
}

export interface MixEvents {
  /** Messages can be sent from now on. */
  ready: MixStatus;
  /** Pool, guards or readiness have changed. */
  pool: MixStatus;
  /** A request has ended. It names nothing of the message but its outcome. */
  outcome: MixOutcome;
}

interface Open {
  resolve(outcome: MixOutcome): void;
  reject(reason: unknown): void;
}

/** Makes a client over the app's own js-libp2p, of version 2 or 3. */
export async function createMixClient(options: { libp2p: Libp2p } & MixOptions): Promise<MixClient> {
  return await MixClient.start(options.libp2p as unknown as Node, options);
}

/** Sends messages through the mixnet. Retries, fragments, deadlines and guards are the engine's, the same as a node's. */
export class MixClient {
  private readonly peers = new Map<string, PeerId>();
  private readonly hops = new Hops();
  private readonly open = new Map<number, Open>();
  private readonly listeners = new Map<keyof MixEvents, Set<(detail: never) => void>>();
  private readonly stopping = new AbortController();
  private nextId = 1;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private known: EngineStatus = { usable: 0, known: 0, guards: 0, connectedGuards: 0, lack: { code: "starting", words: "the client has just started" } };
  private saving: Promise<void> = Promise.resolve();
  private failure: MixError | undefined;

  private constructor(
    private readonly node: Node,
    private readonly engine: Engine,
    private readonly options: MixOptions,
  ) {}

  /** @internal */
  static async start(node: Node, options: MixOptions): Promise<MixClient> {
    const own = node.peerId.toMultihash().bytes;
    if (!isSecp256k1(own)) {
      throw new MixError("identity", `the page's peer id is that of an ${node.peerId.type} key, and packets can name secp256k1 keys only; make the node with \`privateKey: await generateKeyPair("secp256k1")\` of @libp2p/crypto/keys`);
    }
    const settings = checked(own, options);
    const named = (options.mixNodes ?? []).map((option, at) => namedNode(`mixNodes[${at}]`, option));
    const engine = await Engine.load(options.wasm ?? new URL("./engine.wasm", import.meta.url));
    const client = new MixClient(node, engine, options);
    const [first] = engine.handle(command.start(settings));
    if (first?.type === "refused") throw new MixError("option", first.words);
    const stored = await options.store?.load().catch(() => undefined);
    if (stored !== undefined) client.feed(command.restore(stored));
    named.forEach((one) => client.feed(command.mixNode(one)));
    await client.attach();
    return client;
  }

  /** What the client knows now. */
  status(): MixStatus {
    const { usable, known, guards, connectedGuards, lack } = this.known;
    const why = this.failure === undefined ? lack : { code: this.failure.code, words: this.failure.message };
    return {
      isReady: why === undefined,
      ...(why === undefined ? {} : { lack: why }),
      pool: { usable, known },
      guards: { sampled: guards, connected: connectedGuards },
      open: this.open.size,
    };
  }

  /** Calls `listener` on each event of a kind; what comes back ends that. */
  on<K extends keyof MixEvents>(kind: K, listener: (detail: MixEvents[K]) => void): () => void {
    const all = this.listeners.get(kind) ?? new Set();
    this.listeners.set(kind, all.add(listener as (detail: never) => void));
    return () => void all.delete(listener as (detail: never) => void);
  }

  /** Resolves when messages can be sent. */
  ready(signal?: AbortSignal): Promise<MixStatus> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.failure !== undefined) throw this.failure;
      if (this.known.lack === undefined) return resolve(this.status());
      const off = this.on("ready", (status) => {
        off();
        resolve(status);
      });
      const giveUp = (reason: unknown) => {
        off();
        reject(reason);
      };
      signal?.addEventListener("abort", () => giveUp(signal.reason), { once: true });
      this.stopping.signal.addEventListener("abort", () => giveUp(this.stopping.signal.reason), { once: true });
    });
  }

  /** Publishes a message. Resolves with the outcome, whatever it is; rejects only when its signal ends it. */
  push(message: MixPush, options: PushOptions = {}): Promise<MixOutcome> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.failure !== undefined) return resolve(failed(this.failure.code, this.failure.message));
      const id = this.nextId;
      this.nextId = this.nextId >= 0xffff_ffff ? 1 : this.nextId + 1;
      const forget = () => {
        this.open.delete(id);
        this.feed(command.forget(id));
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", forget, { once: true });
      const resolveAndDetach = (outcome: MixOutcome) => {
        signal?.removeEventListener("abort", forget);
        resolve(outcome);
      };
      this.open.set(id, { resolve: resolveAndDetach, reject });
      this.feed(
        command.push(id, {
          payload: message.payload,
          contentTopic: message.contentTopic,
          version: message.version ?? 0,
          timestamp: message.timestamp,
          meta: message.meta ?? new Uint8Array(),
          rateLimitProof: message.rateLimitProof ?? new Uint8Array(),
          ephemeral: message.ephemeral ?? false,
          pubsubTopic: message.pubsubTopic,
          timeoutMs: limit("timeoutMs", options.timeoutMs),
          anonymity: options.anonymity ?? this.options.anonymity ?? "required",
        }),
      );
    });
  }

  /** Ends all open requests with the outcome `stopped`, and gives back what the client holds of the app's node. */
  async stop(): Promise<void> {
    if (this.stopping.signal.aborted) return;
    this.feed(command.close());
    this.fail(new MixError("stopped", "the client has been stopped"));
    await this.node.unhandle(MIX_PROTOCOL);
    await this.saving;
  }

  private async attach(): Promise<void> {
    const { node } = this;
    const onConnect = ({ detail }: { detail: PeerId }) => this.connected(detail);
    const onDisconnect = ({ detail }: { detail: PeerId }) => this.disconnected(detail);
    const onOnline = () => this.feed(command.online());
    node.addEventListener("peer:connect", onConnect);
    node.addEventListener("peer:disconnect", onDisconnect);
    globalThis.addEventListener?.("online", onOnline);
    this.stopping.signal.addEventListener("abort", () => {
      node.removeEventListener("peer:connect", onConnect);
      node.removeEventListener("peer:disconnect", onDisconnect);
      globalThis.removeEventListener?.("online", onOnline);
    });
    await node.handle(MIX_PROTOCOL, (first, second) => this.inbound(first, second), { maxInboundStreams: MAX_INBOUND_STREAMS });
    node.getConnections().forEach((connection) => this.connected(connection.remotePeer));
    this.feed(command.tick());
  }

  private connected(peer: PeerId): void {
    this.peers.set(peer.toString(), peer);
    this.feed(command.connected(peer.toMultihash().bytes));
  }

  private disconnected(peer: PeerId): void {
    this.peers.delete(peer.toString());
    this.hops.drop(peer.toString());
    this.feed(command.disconnected(peer.toMultihash().bytes));
  }

  /** An open connection to a peer, if there is one. */
  private connection(peer: Uint8Array): Connection | undefined {
    const isIt = ({ remotePeer, status }: Connection) => status === "open" && isSame(remotePeer.toMultihash().bytes, peer);
    return this.node.getConnections().find(isIt);
  }

  /** Gives the engine a command, and carries out what follows. */
  private feed(bytes: Uint8Array): void {
    if (this.stopping.signal.aborted) return;
    let events: Event[];
    try {
      events = this.engine.handle(bytes);
    } catch (error) {
      return this.fail(new MixError("internal", "the engine has stopped; make a new client", { cause: error }));
    }
    events.forEach((event) => this.carryOut(event));
    clearTimeout(this.timer);
    const wake = this.engine.wakeIn();
    if (wake !== Infinity && !this.stopping.signal.aborted) this.timer = setTimeout(() => this.feed(command.tick()), Math.ceil(wake));
  }

  private carryOut(event: Event): void {
    switch (event.type) {
      case "started":
        return;
      case "refused":
        return this.fail(new MixError("internal", event.words));
      case "packet":
        return void this.send(event.id, event.to, event.bytes);
      case "dial":
        return void this.dial(event);
      case "hangUp":
        return void this.connection(event.peer)?.close().catch(() => undefined);
      case "fetch":
        return void this.fetch(event.peer, event.request);
      case "askDirectly":
        return void this.askDirectly(event.id, event.services, event.request, event.limitMs);
      case "outcome":
        return this.ended(event.id, event.outcome);
      case "status":
        return this.changed(event.status);
      case "store":
        // A store that fails costs the next visit its pool, and nothing else.
        this.saving = this.saving.then(() => this.options.store?.save(event.state)).catch(() => undefined);
        return;
      case "verify":
        return void this.verify(event.id, event.signatures);
    }
  }

  private async send(id: number, to: Uint8Array, packet: Uint8Array): Promise<void> {
    const connection = this.connection(to);
    const left = connection === undefined ? LEFT.notConnected : await this.hops.send(connection, packet);
    this.feed(command.left(id, left));
  }

  private async dial(target: Target): Promise<void> {
    if (!(await this.reach(target))) this.feed(command.dialFailed(target.peer));
  }

  /** Connects to a peer; whether that worked. The engine hears of it by the node's own event. */
  private async reach({ peer, addresses }: Target): Promise<boolean> {
    const signal = AbortSignal.any([this.stopping.signal, AbortSignal.timeout(DIAL_LIMIT_MS)]);
    try {
      await this.node.dial(addresses.map((address) => full({ peer, address })), { signal });
      return true;
    } catch {
      return false;
    }
  }

  private async fetch(peer: Uint8Array, request: Uint8Array): Promise<void> {
    const answered = await this.ask(peer, DESCRIPTOR_PROTOCOL, request, MAX_DESCRIPTORS, FETCH_LIMIT_MS).catch(() => undefined);
    this.feed(command.descriptors(peer, answered));
  }

  private async askDirectly(id: number, services: Target[], request: Uint8Array, limitMs: number): Promise<void> {
    const deadline = performance.now() + limitMs;
    let answer: DirectAnswer = { kind: "dialFailed" };
    for (const service of services) {
      const isNear = this.connection(service.peer) !== undefined || (await this.reach(service));
      const left = deadline - performance.now();
      if (!isNear || left <= 0) continue;
      try {
        const bytes = await this.ask(service.peer, LIGHTPUSH_PROTOCOL, request, MAX_ANSWER, left);
        answer = bytes === undefined ? { kind: "streamFailed", words: "the service gave no answer" } : { kind: "answered", bytes: bytes };
      } catch (error) {
        answer = { kind: "streamFailed", words: error instanceof Error ? error.message : String(error) };
      }
      // A service that was asked may have published the message.
      break;
    }
    this.feed(command.directAnswer(id, answer));
  }

  private async verify(id: number, signatures: SignatureToCheck[]): Promise<void> {
    const good: boolean[] = [];
    for (const signature of signatures) good.push(await isGood(signature));
    this.feed(command.verified(id, good));
  }

  /** One request and the body of its answer, over a connection that exists. */
  private async ask(peer: Uint8Array, protocol: string, request: Uint8Array, max: number, limitMs: number): Promise<Uint8Array | undefined> {
    const connection = this.connection(peer);
    if (connection === undefined) throw new Error("the peer is not connected");
    const signal = AbortSignal.any([this.stopping.signal, AbortSignal.timeout(limitMs)]);
    const stream = await connection.newStream(protocol, { signal });
    const writer = frameWriter(stream);
    const abort = () => stream.abort(new Error("the answer took too long"));
    signal.addEventListener("abort", abort, { once: true });
    try {
      await writer.write(request);
      for await (const body of readFrames(stream, max)) return body;
      return undefined;
    } finally {
      signal.removeEventListener("abort", abort);
      writer.abort();
    }
  }

  /** A peer opens a stream with packets. Version 2 passes one object, version 3 two arguments. */
  private inbound(first: unknown, second: unknown): void {
    const stream = second === undefined ? (first as { stream: AnyStream }).stream : (first as AnyStream);
    void this.receive(stream).catch(() => stream.abort(new Error("packets only")));
  }

  private async receive(stream: AnyStream): Promise<void> {
    for await (const packet of readFrames(stream, MAX_PACKET)) {
      if (this.stopping.signal.aborted) break;
      this.feed(command.packet(packet));
    }
    stream.abort(new Error("the stream has ended"));
  }

  private ended(id: number, ended: EngineOutcome): void {
    const outcome = outcomeOf(ended);
    this.open.get(id)?.resolve(outcome);
    this.open.delete(id);
    this.emit("outcome", outcome);
  }

  private changed(status: EngineStatus): void {
    const wasReady = this.known.lack === undefined;
    this.known = status;
    this.emit("pool", this.status());
    if (!wasReady && status.lack === undefined) this.emit("ready", this.status());
  }

  private emit<K extends keyof MixEvents>(kind: K, detail: MixEvents[K]): void {
    // A listener of the app that throws must not stop the client.
    this.listeners.get(kind)?.forEach((listener) => queueMicrotask(() => listener(detail as never)));
  }

  private fail(error: MixError): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    clearTimeout(this.timer);
    this.stopping.abort(error);
    this.hops.close();
    const open = [...this.open.values()];
    this.open.clear();
    open.forEach(({ resolve }) => resolve(failed(error.code, error.message)));
  }
}

function failed(code: string, message: string): MixOutcome {
  return { outcome: code, isConfirmed: false, message, tries: 0, packets: 0, exposure: { guards: 0, exits: 0, replyPaths: 0 } };
}

function outcomeOf({ exposure, tries, result }: EngineOutcome): MixOutcome {
  const { guards, exits, packets, replyPaths } = exposure;
  const seen = { tries, packets, exposure: { guards, exits, replyPaths } };
  if (!result.answered) return { outcome: result.kind, isConfirmed: false, message: result.words, ...seen };
  const { kind, status, description, relayPeerCount, messageHash, roundTripMs, isDirect, directReason } = result;
  return {
    outcome: kind,
    isConfirmed: kind === "confirmed",
    ...(kind === "refused" ? { message: `the service refused the message, status ${status}${description === undefined ? "" : `: ${description}`}` } : {}),
    delivery: isDirect ? "direct" : "mixnet",
    ...(directReason === undefined ? {} : { directReason }),
    status,
    ...(description === undefined ? {} : { description }),
    ...(relayPeerCount === undefined ? {} : { relayPeerCount }),
    ...(messageHash === undefined ? {} : { messageHash: `0x${[...messageHash].map((byte) => byte.toString(16).padStart(2, "0")).join("")}` }),
    ...seen,
    roundTripMs,
  };
}

/** Whether a signature is one; bytes of strangers that are no key at all have none. */
async function isGood({ publicKey, signed, signature }: SignatureToCheck): Promise<boolean> {
  try {
    return await publicKeyFromProtobuf(publicKey).verify(signed, signature);
  } catch {
    return false;
  }
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

function checked(peer: Uint8Array, options: MixOptions) {
  const { cluster = 1, shards = 0, profile = "lioness/pad", allowPrivateAddresses = false } = options;
  const isU16 = (value: number) => Number.isInteger(value) && value >= 0 && value <= 0xffff;
  if (!isU16(cluster)) throw new MixError("option", `cluster: ${cluster} is not a number from 0 to 65535`);
  if (!isU16(shards)) throw new MixError("option", `shards: ${shards} is not a number from 0 to 65535`);
  const secureOnly = globalThis.location?.protocol === "https:";
  const bootstrap: Located[] = (options.bootstrap ?? []).map((text, at) => dialable(`bootstrap[${at}]`, text, secureOnly));
  return {
    peer,
    cluster,
    shards,
    profile,
    allowPrivate: allowPrivateAddresses,
    secureOnly,
    timeoutMs: limit("timeoutMs", options.timeoutMs),
    coverMs: options.cover === undefined ? undefined : limit("cover.meanMs", options.cover.meanMs),
    keepsState: options.store !== undefined,
    bootstrap,
  };
}

function limit(option: string, value: number | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!Number.isFinite(value) || value < 1 || value > MAX_TIMEOUT_MS) {
    throw new MixError("option", `${option}: ${value} is not a number of milliseconds from 1 to ${MAX_TIMEOUT_MS}`);
  }
  return Math.round(value);
}

function namedNode(option: string, { addresses, mixKey, lightpush = false }: MixNodeOption) {
  const all = addresses.map((text, at) => located(`${option}.addresses[${at}]`, text));
  const [first] = all;
  if (first === undefined) throw new MixError("mix_node", `${option}: it has no address`);
  if (!all.every(({ peer }) => isSame(peer, first.peer))) throw new MixError("mix_node", `${option}: its addresses are of different peers`);
  const digits = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(mixKey)?.[1];
  if (digits === undefined) throw new MixError("mix_node", `${option}.mixKey: ${mixKey} is not a mix key, 64 hexadecimal digits`);
  const key = Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return { peer: first.peer, addresses: all.map(({ address }) => address), key, lightpush };
}
