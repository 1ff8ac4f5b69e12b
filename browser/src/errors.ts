/** Why a client cannot be made. */
export type MixErrorCode =
  /** The page's identity cannot be named in a packet. */
  | "identity"
  /** An address in the options cannot be used. */
  | "address"
  /** A mix node in the options is not one. */
  | "mix_node"
  /** An option has an impossible value. */
  | "option"
  /** WebAssembly could not be loaded or is forbidden. */
  | "wasm"
  /** The client has stopped. */
  | "stopped"
  /** A defect of this package. */
  | "internal";

/** What was wrong, and what to do, in words; `code` is stable. */
export class MixError extends Error {
  override readonly name = "MixError";

  constructor(
    readonly code: MixErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
