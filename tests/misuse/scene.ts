/**
 * One misuse being committed: an allocator of its own, the blocks that the program holds, and the moment at which an
 * error would come.
 *
 * ```text
 *   prepare          wrong(...)      end of the program
 *   (no error here)  "at once"       "at free"   what is still held is freed
 *                                    "at reuse"  blocks of the same size come and go
 *                                    "at check"  check()
 *                                    "at trim"   trim()
 *                                    "at dispose"
 * ```
 *
 * The first error decides. After an error of the wrong call itself the rest must go as if nothing had happened: a rejected
 * call changes nothing.
 *
 * @module
 */
import { type Address, type Allocator, AllocatorError } from "../../mod.ts";
import { fencedSource } from "./fenced_source.ts";
import { type Held, hold, type HoldOptions } from "./holders.ts";
import type { Mode } from "./modes.ts";
import { NativeCode } from "./native.ts";
import { describeViolation, type Moment, outcomeKind } from "./outcome.ts";
import type { Misuse } from "./programs.ts";

/**
 * The variants of a program: bytes of its blocks. All but the first are exact sizes of classes, so that the next byte is
 * another block's.
 */
export const SIZES = { odd: 61, small: 64, large: 256 * 1024, huge: 8 * 2 ** 20 } as const;

/** The name of a variant. */
export type SizeName = keyof typeof SIZES;

/** How many blocks come and go afterwards. */
const REUSES: Readonly<Record<SizeName, number>> = { odd: 512, small: 512, large: 64, huge: 4 };

/** The most bytes that native code copies at a time. */
export const SCRATCH_BYTES: number = 2 ** 20 + 4096;

/** A tiny program: commits one misuse, and says what it saw when nobody stopped it. */
export type Program = (scene: Scene) => string;

/** What came of it. */
export interface Result {
  /** See outcome.ts. */
  readonly outcome: string;
  /** The message of the error, if one came. */
  readonly message: string;
  /** The wrong address, in hexadecimal, which the message of an error at once must name; empty where there is none. */
  readonly subject: string;
}

/** What a program can do. */
export class Scene {
  /** The allocator under test. */
  readonly allocator: Allocator;
  /** Where its memory comes from. */
  readonly source: ReturnType<typeof fencedSource> = fencedSource();
  /** The size of the variant in bytes. */
  readonly size: number;
  /** What is being run. */
  readonly mode: Mode;
  readonly #variant: SizeName;
  readonly #native: NativeCode;
  readonly #held = new Set<Held>();
  #moment: Moment | undefined;
  #subject = "";
  #isRuined = false;

  /** Makes the allocator. */
  constructor(mode: Mode, variant: SizeName) {
    this.mode = mode;
    this.size = SIZES[variant];
    this.#variant = variant;
    const scratch = this.map(SCRATCH_BYTES);
    this.#native = new NativeCode(this.source.wrap(scratch, SCRATCH_BYTES), scratch);
    this.allocator = mode.make(this.source);
  }

  /** Maps memory that the allocator knows nothing of. */
  map(byteLength: number): Address {
    const address = this.source.reserve(byteLength, this.source.granularity);
    this.source.commit(address, byteLength);
    return address;
  }

  /** Allocates a block, of the variant's size if none is given. */
  take(size: number = this.size, options?: HoldOptions): Held {
    const block = hold(this.mode.holding, this.allocator, this.#native, size, options);
    this.#held.add(block);
    return block;
  }

  /** Frees a block, rightly. */
  free(block: Held): void {
    this.#held.delete(block);
    block.free();
  }

  /** Leaves a block out of what is freed in the end: the misuse was that it is freed. */
  forget(block: Held): void {
    this.#held.delete(block);
  }

  /** Changes the size of a block, rightly. */
  resize(block: Held, size: number): Held {
    this.#held.delete(block);
    const resized = block.resize(size);
    this.#held.add(resized);
    return resized;
  }

  /** Commits the misuse. `address` is what an error should name, where it is one. */
  wrong<T>(address: Address | undefined, act: () => T): T {
    this.#subject = address === undefined ? "" : `0x${address.toString(16)}`;
    this.#moment = "at once";
    return act();
  }

  /** Disposes the allocator in the middle of a program. */
  dispose(): void {
    this.#held.clear();
    this.allocator[Symbol.dispose]();
  }

  /** Runs a program to the end. */
  run({ run, ruins = false }: Pick<Misuse, "run" | "ruins">): Result {
    this.#isRuined = ruins;
    let seen: string;
    try {
      seen = run(this);
      if (this.#moment === undefined) seen = "broken: nothing wrong was done";
    } catch (error) {
      return this.#caught(error);
    }
    try {
      this.#finish();
    } catch (error) {
      return this.#caught(error);
    }
    return { outcome: seen, message: "", subject: "" };
  }

  /** Gives all memory back, whatever became of the allocator. */
  close(): void {
    this.source.close();
  }

  #caught(error: unknown): Result {
    const moment = this.#moment;
    if (!(error instanceof Error)) return broken(`threw ${typeof error}`);
    if (moment === undefined) return broken(`${error} before anything was wrong`);
    const outcome = describeViolation(error, moment);
    if (outcomeKind(outcome) === "broken") return broken(`${error}`);
    if (moment === "at once") {
      try {
        this.#finish();
      } catch (later) {
        return broken(`${later} after ${error}`);
      }
    } else if (!(error instanceof AllocatorError)) return broken(`${error} ${moment}`);
    return { outcome, message: error.message, subject: moment === "at once" ? this.#subject : "" };
  }

  /** What comes after a misuse that nobody stopped. */
  #finish(): void {
    const { allocator } = this;
    this.#moment = "at free";
    const held = this.#isRuined ? [] : [...this.#held];
    this.#held.clear();
    for (const block of held) block.free();
    if (isDisposed(allocator)) return;
    if (!this.#isRuined) {
      this.#moment = "at reuse";
      for (let i = 0; i < REUSES[this.#variant]; i++) allocator.free(allocator.allocate(this.size));
      this.#moment = "at check";
      allocator.check();
      this.#moment = "at trim";
      allocator.trim();
    }
    this.#moment = "at dispose";
    allocator[Symbol.dispose]();
  }
}

function broken(what: string): Result {
  return { outcome: `broken: ${what}`, message: "", subject: "" };
}

function isDisposed(allocator: Allocator): boolean {
  try {
    allocator.stats();
    return false;
  } catch {
    return true;
  }
}
