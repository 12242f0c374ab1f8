/** What /proc says of limits, and which flags put them on somebody else. */
import { describe, expect, test } from 'vitest';
import {
  type AllBounds,
  boundsIn,
  boundsOf,
  limitFlags,
  resourceNames,
  type SoftLimits,
} from '../../src/shared/resource-limits.ts';

const text = `Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            3600                 seconds
Max file size             unlimited            unlimited            bytes
Max stack size            8388608              unlimited            bytes
Max core file size        0                    unlimited            bytes
Max open files            1024                 524288               files
Max address space         18446744073709551614 unlimited            bytes
Max nice priority         0                    0
`;

test('is read as the kernel writes it', () => {
  expect(boundsIn(text)).toEqual({
    cpu: { soft: Infinity, hard: 3600 },
    fsize: { soft: Infinity, hard: Infinity },
    stack: { soft: 8_388_608, hard: Infinity },
    core: { soft: 0, hard: Infinity },
    nofile: { soft: 1024, hard: 524_288 },
    as: { soft: Infinity, hard: Infinity },
    nice: { soft: 0, hard: 0 },
  });
});

test('of this process all are known, of one that is not there none', () => {
  expect(Object.keys(boundsOf('self')).sort()).toEqual([...resourceNames].sort());
  expect(boundsOf(2 ** 22 + 1)).toEqual({});
});

describe('flags of prlimit', () => {
  const own: AllBounds = {
    nofile: { soft: 4096, hard: 4096 },
    core: { soft: 0, hard: Infinity },
    cpu: { soft: Infinity, hard: Infinity },
    as: { soft: 1000, hard: 2000 },
  };
  test.each<[string, SoftLimits, readonly string[]]>([
    ['nothing is wished', {}, []],
    ['what it has', { nofile: 4096, core: 0, cpu: null, as: 1000 }, []],
    ['less', { nofile: 256 }, ['--nofile=256:']],
    ['none', { core: null }, ['--core=unlimited:']],
    ['one where there is none', { cpu: 60 }, ['--cpu=60:']],
    ['more than the hard one: that', { nofile: 8192, as: null }, ['--as=2000:']],
    ['0', { as: 0 }, ['--as=0:']],
    ['one that the machine does not know', { rttime: 1 }, []],
    ['one left open', { nofile: undefined }, []],
    ['several', { nofile: 1, core: 2, as: 3 }, ['--as=3:', '--core=2:', '--nofile=1:']],
  ])('%s', (_what, wanted, flags) => {
    expect(limitFlags(wanted, own)).toEqual(flags);
  });
});
