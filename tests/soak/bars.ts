/** What was measured beside what it may be at most; said at the end, and missed bars make the exit code. */

export class Bars {
  readonly #rows: {
    readonly what: string;
    readonly measured: string;
    readonly bar: string;
    readonly isMissed: boolean;
  }[] = [];

  atMost(what: string, measured: number, most: number, unit: string): void {
    const shown = Number.isInteger(measured) ? String(measured) : measured.toFixed(2);
    // Not measured is not kept.
    this.#rows.push({ what, measured: `${shown} ${unit}`, bar: `≤ ${most} ${unit}`, isMissed: !(measured <= most) });
  }

  note(what: string, measured: string): void {
    this.#rows.push({ what, measured, bar: '', isMissed: false });
  }

  get missed(): number {
    return this.#rows.filter(({ isMissed }) => isMissed).length;
  }

  print(): void {
    const width = Math.max(...this.#rows.map(({ what }) => what.length));
    for (const { what, measured, bar, isMissed } of this.#rows) {
      console.log(
        `  ${what.padEnd(width)}  ${measured.padStart(18)}  ${bar.padEnd(16)}${isMissed ? '  MISSED' : ''}`.trimEnd(),
      );
    }
  }
}
