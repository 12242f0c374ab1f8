/**
 * Measuring side by side: every case takes its turn in each round, in reversed order every other round, so that what
 * the machine does meanwhile hits all alike. Ratios within one run hold; absolute times do not.
 */
export type Case = () => Promise<number>;

export interface Summary {
  readonly median: number;
  readonly p95: number;
  readonly least: number;
  readonly count: number;
}

export const summarize = (samples: readonly number[]): Summary => {
  const sorted = [...samples].sort((left, right) => left - right);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { median: at(0.5), p95: at(0.95), least: sorted[0] ?? Number.NaN, count: sorted.length };
};

/** Milliseconds of each case, by its name; one round is thrown away. */
export const alternate = async <K extends string>(
  rounds: number,
  cases: Readonly<Record<K, Case>>,
): Promise<Readonly<Record<K, Summary>>> => {
  const names = Object.keys(cases) as K[];
  const samples = new Map<K, number[]>(names.map((name) => [name, []]));
  for (let round = -1; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const ms = await cases[name]();
      if (round >= 0) samples.get(name)?.push(ms);
    }
  }
  return Object.fromEntries(names.map((name) => [name, summarize(samples.get(name) ?? [])])) as Record<K, Summary>;
};

/** A table on stdout; ratios are to the first row. */
export const report = (
  title: string,
  results: Readonly<Record<string, Summary>>,
  goals: Readonly<Record<string, string>> = {},
): void => {
  const rows = Object.entries(results);
  const base = rows[0]?.[1].median ?? Number.NaN;
  const width = Math.max(...rows.map(([name]) => name.length), 12);
  console.log(`\n${title}`);
  console.log(
    `  ${''.padEnd(width)}  ${['median', 'p95', 'min'].map((head) => head.padStart(9)).join('')}   ratio  goal`,
  );
  for (const [name, { median, p95, least }] of rows) {
    const numbers = [median, p95, least].map((ms) => ms.toFixed(2).padStart(9)).join('');
    console.log(
      `  ${name.padEnd(width)}  ${numbers}  ${(median / base).toFixed(2).padStart(6)}  ${goals[name] ?? ''}`.trimEnd(),
    );
  }
};
