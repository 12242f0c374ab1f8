/** One clock for several processes: CLOCK_MONOTONIC, in microseconds. */
export const microseconds = (): number => {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e6 + nanoseconds / 1e3;
};
