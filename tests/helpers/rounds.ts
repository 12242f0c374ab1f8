/** How often a row of the catalogue is gone through: what fits a suite, or with WORKERD_FULL_ROWS=1 the row's own number. */
export const isFull = process.env['WORKERD_FULL_ROWS'] === '1';

export const rounds = (inTheSuite: number, ofTheRow: number): number => (isFull ? ofTheRow : inTheSuite);

/** Of a test that goes through them all. */
export const roundsTimeoutMs = isFull ? 3_600_000 : 120_000;
