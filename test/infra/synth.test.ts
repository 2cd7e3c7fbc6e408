import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../infra/bundle.ts';

/** As on a clean clone: no account, no region, no credentials, and nothing beyond this machine can be reached. */
function synth(env: Readonly<Record<string, string>> = {}) {
  const out = mkdtempSync(join(tmpdir(), 'holdfast-synth-'));
  const cdk = [join(projectRoot, 'node_modules', '.bin', 'cdk'), 'synth', '--quiet', '--output', out];
  const unreachable = 'http://127.0.0.1:9';
  const result = spawnSync(process.execPath, cdk, {
    cwd: projectRoot,
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH ?? '',
      HOME: out,
      HTTP_PROXY: unreachable,
      HTTPS_PROXY: unreachable,
      AWS_EC2_METADATA_DISABLED: 'true',
      ...env,
    },
  });
  const files = readdirSync(out);
  rmSync(out, { recursive: true, force: true });
  return { ...result, files };
}

test('the example fleet synthesises without account, Docker or network', () => {
  const { status, files } = synth({ HOLDFAST_FLEET: 'docs/examples/fleet.json' });
  expect(status).toBe(0);
  expect(files).toContain('holdfast.template.json');
  expect(files).toContain('holdfast-data.template.json');
  expect(files.filter((name) => name.startsWith('asset.'))).toHaveLength(8);
});

test('nothing is deployed without a fleet file, nor with an option that nobody knows', () => {
  expect(synth()).toMatchObject({ status: 1, stderr: expect.stringContaining('HOLDFAST_FLEET must name one') });
  const { status, stderr } = synth({
    HOLDFAST_FLEET: 'docs/examples/fleet.json',
    HOLDFAST_ALARM_MAIL: 'me@example.com',
  });
  expect(status).toBe(1);
  expect(stderr).toContain('"HOLDFAST_ALARM_MAIL" in the environment is not an option');
});

test('mistakes end the synthesis, each with its message', () => {
  const { status, stderr } = synth({
    HOLDFAST_FLEET: 'docs/examples/fleet.json',
    SCRUBBER_PARTS: '17',
    HOLDFAST_ALARMS_OFF: 'noise',
  });
  expect(status).not.toBe(0);
  expect(stderr).toMatch(/ {2}- SCRUBBER_PARTS is "17"/);
  expect(stderr).toMatch(/ {2}- HOLDFAST_ALARMS_OFF is "noise"/);
});
