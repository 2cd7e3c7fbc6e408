import { createRandom } from '../random.ts';
import { broughtBackWhileClaimed, bucketEmptied, latePart, unreadableOnDaySeven } from './copies.ts';
import {
  claimantSleepsOverUndrain,
  cleanerSleepsOverUndrain,
  lateDeletionOfDrain,
  overwrittenBeforeUndrain,
  putSleepsOverDrain,
} from './drains.ts';
import { firstReadingWrong, oldItemOfFile, sameFileAgain } from './imports.ts';
import { copyOvertaken, moveLost, putToLeaving, secondCopyOverwritten } from './leaving.ts';
import { limitSpent } from './limits.ts';
import { backendExcluded, movedApart } from './placement.ts';
import { firstCopyOtherHeaders, firstCopyRotten } from './readers.ts';
import type { Stage } from './stage.ts';
import { sourceFallsSilent, targetLost } from './transfers.ts';

/**
 * What needs so many coincidences that random histories do not meet it: each is played, step by step, when a fleet is at rest,
 * in a few percent of the histories. True where it came to its point.
 */
export const scenes = {
  'cleaner sleeps over an undrain': cleanerSleepsOverUndrain,
  'overwritten before an undrain': overwrittenBeforeUndrain,
  'late deletion of a drain': lateDeletionOfDrain,
  'claimant sleeps over an undrain': claimantSleepsOverUndrain,
  'copy overtaken': copyOvertaken,
  'commit of a move lost': moveLost,
  'put to a leaving backend': putToLeaving,
  'second copy of a put overwritten': secondCopyOverwritten,
  'first copy read is rotten': firstCopyRotten,
  'first copy read has other headers': firstCopyOtherHeaders,
  'late part': latePart,
  'bucket emptied': bucketEmptied,
  'unreadable on day seven': unreadableOnDaySeven,
  'brought back while claimed': broughtBackWhileClaimed,
  'first reading wrong': firstReadingWrong,
  'same file again': sameFileAgain,
  'old item of a file': oldItemOfFile,
  'backend excluded': backendExcluded,
  'moved apart': movedApart,
  'source falls silent': sourceFallsSilent,
  'target lost': targetLost,
  'put sleeps over a drain': putSleepsOverDrain,
  'limit spent': limitSpent,
} satisfies Readonly<Record<string, (stage: Stage) => Promise<boolean>>>;

export type SceneName = keyof typeof scenes;
export const sceneNames = Object.keys(scenes) as SceneName[];

const share = 0.07;

/** The scenes of a history: by its seed alone. */
export function scenesOf(seed: number): SceneName[] {
  return sceneNames.filter((name) => createRandom(seed, `has scene ${name}`).chance(share));
}
