/** Texts that many runs have in common (the environment of one shell), each held once, for as long as a run has it. */
export class SharedTexts {
  readonly #texts = new Map<string, { readonly text: string; holders: number }>();

  share(texts: readonly string[]): readonly string[] {
    return texts.map((text) => {
      const held = this.#texts.get(text) ?? { text, holders: 0 };
      held.holders += 1;
      this.#texts.set(held.text, held);
      return held.text;
    });
  }

  drop(texts: readonly string[]): void {
    for (const text of texts) {
      const held = this.#texts.get(text);
      if (held === undefined) continue;
      held.holders -= 1;
      if (held.holders === 0) this.#texts.delete(text);
    }
  }

  get size(): number {
    return this.#texts.size;
  }
}
