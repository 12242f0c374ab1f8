/** The bucket through which all automatic restarts of the daemon pass. Pure: the caller brings the time. */
export class Bucket {
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #filledMono: number;

  constructor(options: { readonly burst: number; readonly perSecond: number; readonly nowMono: number }) {
    this.#burst = options.burst;
    this.#perSecond = options.perSecond;
    this.#tokens = options.burst;
    this.#filledMono = options.nowMono;
  }

  /** Takes one now (0), or says in how many milliseconds to ask again. */
  take(nowMono: number): number {
    const tokens = this.#tokens + ((nowMono - this.#filledMono) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, tokens);
    this.#filledMono = nowMono;
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      return 0;
    }
    return Math.ceil(((1 - this.#tokens) / this.#perSecond) * 1000);
  }
}
