import type { BackendConfig } from '../../config/fleet-file.ts';
import { parameters } from '../../config/parameters.ts';
import type { Capabilities } from '../../fleet/backend.ts';

/** Whatever MULTIPART_ABOVE_BYTES is set to, an object of this size is written at once. */
const surelyAtOnceBytes = parameters.MULTIPART_ABOVE_BYTES!.min!;

/** Why a backend that was found to be so cannot hold copies: the promise that would be broken. Null where each can be kept. */
export function brokenPromise(can: Capabilities, { name, maxObjectBytes }: BackendConfig): string | null {
  const backend = `Backend "${name}"`;
  if (can.keepsMetadata === false)
    return `${backend} does not keep user metadata as it was sent: the marks that say whose its copies are would be lost`;
  if (can.keepsKeys === false)
    return `${backend} lists keys otherwise than they were written: what is there could not be told from what is missing`;
  if (can.pagesWhole === false)
    return `${backend} does not list each key once, page by page: what is there could not be told from what is missing`;
  const isSmall = maxObjectBytes > 0 && maxObjectBytes <= surelyAtOnceBytes;
  if (can.maxParts === 0 && !isSmall)
    return `${backend} completes no upload in parts: set its "maxObjectBytes" to ${surelyAtOnceBytes} or less, so that larger objects go to other backends`;
  return null;
}
