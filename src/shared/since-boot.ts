/**
 * Milliseconds since the machine was booted, without those it was suspended: the same for all processes, and no
 * business of whoever sets the clock.
 */
export const sinceBoot = (): number => {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
};

/** Changes with every boot; without one (no Linux) every start counts as the same boot. */
export const readBootId = (): string => {
  try {
    const { readFileSync } = process.getBuiltinModule('node:fs');
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
};
