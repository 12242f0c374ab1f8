/** All checks, in the order in which they are shown: what is asked for most often first. Pure. */
import type { Check } from './check.ts';
import { checkDaemon, checkNode, checkProblems, checkShim, checkWorkers } from './check-daemon.ts';
import { checkFiles, checkHome, checkParents, checkSocket } from './check-home.ts';
import { checkRegistry, checkStale } from './check-left.ts';
import { checkClock, checkDescriptors, checkDisk, checkFileSystem, checkProcesses } from './check-machine.ts';
import { checkEnvironment, checkPrograms, checkUnits } from './check-programs.ts';
import type { Facts } from './facts.ts';

const checks: readonly ((facts: Facts) => readonly Check[])[] = [
  checkDaemon,
  checkShim,
  checkProblems,
  checkWorkers,
  checkHome,
  checkParents,
  checkFiles,
  checkSocket,
  checkRegistry,
  checkStale,
  checkFileSystem,
  checkDisk,
  checkDescriptors,
  checkProcesses,
  checkClock,
  checkNode,
  checkPrograms,
  checkEnvironment,
  checkUnits,
];

/** What is well by one look and not by another is not well. */
export const judge = (facts: Facts): readonly Check[] => {
  const all = checks.flatMap((check) => check(facts));
  const faulty = new Set(all.filter(({ level }) => level !== 'ok').map(({ name }) => name));
  return all.filter(({ name, level }) => level !== 'ok' || !faulty.has(name));
};

/** Warnings are no failure. */
export const isWell = (checked: readonly Check[]): boolean => checked.every(({ level }) => level !== 'fail');
