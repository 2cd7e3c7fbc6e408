import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { Backend } from '../../lib/fleet/backend.ts';
import { createS3Backend, type S3Backend } from '../../lib/fleet/s3-backend.ts';
import { backendContract } from '../contracts/backend.ts';
import type { Met } from './contract.ts';
import { removeBelow } from './remove-below.ts';
import { optionsFor, type ProbedTarget } from './target.ts';

/** The contract of the backend port on a real server, with the capabilities that were found there. */
const target = JSON.parse(readFileSync(process.env.HOLDFAST_REAL_TARGET!, 'utf8')) as ProbedTarget;

/**
 * Each test has a prefix of its own, some folders deep: servers that take keys for paths make of `..` what lies above it, and
 * one test would find what another left.
 */
backendContract(target.name, async () => {
  const { capabilities, bucket } = target;
  const at = (below: string) => createS3Backend({ ...optionsFor(target, below), capabilities });
  const near = at('near/');
  const met: Met[] = [];
  let number = 0;
  let backend = watched(at('contract/0/deep/er/'));
  return {
    get backend(): Backend {
      return backend;
    },
    can: capabilities,
    differs(difference, about) {
      met.push({ test: expect.getState().currentTestName ?? '', difference, ...(about !== undefined && { about }) });
    },
    neighbour: { backend: near, place: { bucket, prefix: `${target.prefix}near/` } },
    async reset() {
      await backend.end();
      number += 1;
      backend = watched(at(`contract/${number}/deep/er/`));
    },
    async close() {
      await backend.end();
      near.close();
      writeFileSync(process.env.HOLDFAST_REAL_DIFFERENCES!, JSON.stringify(met));
      for (const below of ['contract/', 'near/']) await removeBelow(target, below).catch(() => {});
    },
  };
});

/** Uploads that a test leaves open are aborted at its end: not every server lists them by a prefix. */
function watched(backend: S3Backend): Backend & { end(): Promise<void> } {
  const begun: [string, string][] = [];
  return {
    ...backend,
    async createUpload(request, signal) {
      const upload = await backend.createUpload(request, signal);
      begun.push([request.storageKey, upload.uploadId]);
      return upload;
    },
    async end() {
      for (const [storageKey, uploadId] of begun) await backend.abortUpload(storageKey, uploadId).catch(() => {});
      backend.close();
    },
  };
}
