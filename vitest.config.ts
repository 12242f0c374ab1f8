import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['tests/{core,daemon,cli,shared}/**/*.test.ts', 'tests/architecture.test.ts'] },
      },
      // Real processes: each file has sandboxes of its own; two at a time are what a small machine carries.
      { extends: true, test: { name: 'process', include: ['tests/{shim,host,e2e}/**/*.test.ts'], maxWorkers: 2 } },
    ],
  },
});
