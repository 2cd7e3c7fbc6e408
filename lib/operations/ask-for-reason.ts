import { collect } from '../base/bytes.ts';
import { type Backend, BackendError } from '../fleet/backend.ts';
import { ownerKey } from '../fleet/owner.ts';

/**
 * Does what begins with a HEAD of the owner object, for a person: an answer to a HEAD has no room for a reason, so that what is
 * refused is asked for once more by a GET, whose error says which key, region or clock to look at.
 */
export async function withReason<T>(backend: Backend, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const isMute = error instanceof BackendError && error.speaksOf === 'unclear' && !error.isUnanswered;
    throw (isMute ? await reasonOf(backend) : null) ?? error;
  }
}

async function reasonOf(backend: Backend): Promise<BackendError | null> {
  try {
    const { body } = await backend.get(ownerKey, { range: [0, 0] });
    await collect(body);
    return null;
  } catch (error) {
    return error instanceof BackendError && error.speaksOf !== 'object' ? error : null;
  }
}
