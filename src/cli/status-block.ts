/** One worker in full, with the last lines of its newest run where they can be read. */
import { tailLines } from '../shared/tail.ts';
import type { WorkerView } from '../shared/worker.ts';
import type { Context } from './context.ts';
import { logDirectory } from './log-source.ts';
import { type BlockLine, blockText } from './render/block.ts';

const shownLines = 10;

export const showBlock = async (context: Context, view: WorkerView, showEnv: boolean): Promise<void> => {
  const lastLines = await readLastLines(context, view);
  const { style, width } = context;
  context.io.stdout.write(blockText(view, { style, now: context.now(), width, lastLines, showEnv }));
};

const readLastLines = async (
  context: Context,
  { name, generation }: WorkerView,
): Promise<readonly BlockLine[] | null> => {
  if (generation === 0) return [];
  try {
    const directory = await logDirectory(context, name);
    const { lines } = tailLines(directory, shownLines, { generation });
    return lines.map(({ stream, line }) => ({ stream, text: line.toString('utf8').replace(/\r$/, '') }));
  } catch {
    // The block is worth showing without them.
    return null;
  }
};
