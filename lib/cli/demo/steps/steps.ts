import type { Step } from '../stage.ts';
import { comeBack } from './come-back.ts';
import { drainBackend } from './drain-backend.ts';
import { importFile } from './import-file.ts';
import { loseBackend } from './lose-backend.ts';
import { openBreaker } from './open-breaker.ts';
import { rebalance } from './rebalance.ts';
import { removeSurplus } from './remove-surplus.ts';
import { replaceCopies } from './replace-copies.ts';
import { rot } from './rot.ts';
import { settleUpload } from './settle-upload.ts';

/** What the demo shows once every file has its copies, in this order: each step finds what the one before left. */
export const steps: readonly Step[] = [
  loseBackend,
  openBreaker,
  replaceCopies,
  comeBack,
  removeSurplus,
  settleUpload,
  rot,
  importFile,
  drainBackend,
  rebalance,
];
