/**
 * The log of a run whose shim was killed under it: what the dead shim had read and not written may be missing, once for
 * each kill, and nothing else; and no line may be there twice or in another order.
 */
import { checksum, type LoggedStreams, type OwnRun } from './own-files.ts';

/** A pipe's worth: the dead shim's last read. */
const readBytes = 64 * 1024;
/** Where nobody held the pipes (the daemon was dead, too) when it ended, what was in them goes with it. */
const lostPipeBytes = 64 * 1024;

const isThrown = (line: string): boolean => line === 'Error: as it was told' || /^ {4}at |^Node\.js v|^$/.test(line);

export const gapFault = (own: OwnRun, log: LoggedStreams, kills: number): string | null => {
  for (const stream of ['stdout', 'stderr'] as const) {
    const places = new Map(own.lines[stream].map((line, index) => [line, index]));
    let [last, gaps, broken] = [log.rotated ? null : -1, 0, 0] as [number | null, number, number];
    const missing = (from: number, to: number): number =>
      own.lines[stream].slice(from, to).reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0);
    for (const line of log[stream].split('\n')) {
      const place = places.get(line);
      if (place === undefined) {
        // One that is cut in its first word is whole to the checksum.
        if (/^[OE] /.test(line) && checksum(line))
          return `${stream}: a line that was not written: ${JSON.stringify(line)}`;
        if (!isThrown(line)) broken += 1;
        continue;
      }
      if (last !== null && place <= last) return `${stream}: line ${place} after line ${last}: ${JSON.stringify(line)}`;
      if (last !== null && place > last + 1) {
        gaps += 1;
        const bytes = missing(last + 1, place);
        if (bytes > readBytes) return `${stream}: ${bytes} bytes are missing before ${JSON.stringify(line)}`;
      }
      last = place;
    }
    const atEnd = missing((last ?? -1) + 1, own.lines[stream].length);
    if (atEnd > readBytes + lostPipeBytes) return `${stream}: ${atEnd} bytes are missing at the end`;
    // Of each gap two lines are cut, which makes one; and a rotation or a kill cuts one more.
    if (gaps > kills || broken > kills + 2) return `${stream}: ${gaps} gaps, ${broken} cut lines after ${kills} kills`;
  }
  return null;
};
