/**
 * What the bucket permits begins later: a commit, the shim and a fork lie between, and on a busy machine a delayed
 * burst would share its second with the next starts. So what has begun is counted when it has, and what is under way
 * counts too. Pure: the caller brings the time.
 */
const windowMs = 1000;
/** With only starts under way to wait for: asked again after this. */
const againMs = 20;

export class StartWindow {
  readonly #most: number;
  readonly #underWay = new Set<string>();
  #begun: number[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** 0: one more may begin now; else in how many milliseconds to ask again. */
  wait(nowMono: number): number {
    this.#begun = this.#begun.filter((mono) => mono > nowMono - windowMs);
    if (this.#begun.length + this.#underWay.size < this.#most) return 0;
    const oldest = this.#begun[0];
    return oldest === undefined ? againMs : Math.max(1, Math.ceil(oldest + windowMs - nowMono));
  }

  order(run: string): void {
    this.#underWay.add(run);
  }

  begun(run: string, nowMono: number): void {
    if (this.#underWay.delete(run)) this.#begun.push(nowMono);
  }

  /** It came to nothing. */
  failed(run: string): void {
    this.#underWay.delete(run);
  }
}
