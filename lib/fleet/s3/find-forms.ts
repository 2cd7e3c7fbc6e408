import type { Capabilities } from '../backend.ts';
import { type Check, found, keyOf, refusal, small, textAt } from './check.ts';
import type { KeyForm } from './key-forms.ts';

/** Names of each form, of which a server that takes keys for paths, or writes them into XML as they are, makes others. */
const samples: Readonly<Record<KeyForm, readonly string[]>> = {
  takesDotSegments: ['dots/a/../b', 'dots/./c'],
  takesEmptySegments: ['empty//a', 'empty/b//c'],
  takesTrailingSlash: ['slash/'],
  takesBackslashes: ['back\\slash'],
  takesControlCharacters: ['control/bell\u0007', 'control/line\nbreak', 'control/delete\u007f', 'control/none\uffff'],
};

/** Which keys come back as they were written: each is put, listed and looked up. What others become is removed with them. */
export async function findForms(check: Check): Promise<Pick<Capabilities, KeyForm | 'takesNestedKeys'>> {
  const can: Partial<Record<KeyForm | 'takesNestedKeys', boolean>> = { takesNestedKeys: await takesNested(check) };
  for (const [form, names] of Object.entries(samples) as [KeyForm, readonly string[]][]) {
    const taken = await Promise.all(names.map((name) => comesBack(check, form, name)));
    can[form] = !taken.includes(false);
  }
  return can;
}

/** What a file system cannot have: a key, and another below it. */
async function takesNested(check: Check): Promise<boolean> {
  const { backend, folder, signal } = check;
  const above = keyOf(check, 'nested/a');
  await backend.put(small(above, 'x'), signal);
  const below = `${above}/b!${check.ids.ulid()}`;
  if ((await refusal(check, () => backend.put(small(below, 'x'), signal))) !== undefined) return false;
  check.written.add(below);
  const listed = await found(check, async () => (await backend.list({ prefix: `${folder}nested/` }, signal)).items);
  return listed !== false && listed.length === 2 && (await textAt(check, above)) === 'x';
}

async function comesBack(check: Check, form: KeyForm, name: string): Promise<boolean> {
  const { backend, folder, ids, written, signal } = check;
  const run = `forms/${ids.ulid()}/`;
  const storageKey = folder + run + name + (form === 'takesTrailingSlash' ? '' : `!${ids.ulid()}`);
  const refused = await refusal(check, () => backend.put(small(storageKey, 'x'), signal));
  const listed = await found(check, async () => (await backend.list({ prefix: folder + run }, signal)).items);
  // Whatever it was stored as: named so, it goes at the end.
  if (listed !== false) for (const item of listed) written.add(item.storageKey);
  if (refused !== undefined) return false;
  written.add(storageKey);
  const isListed = listed !== false && listed.length === 1 && listed[0]!.storageKey === storageKey;
  return isListed && (await textAt(check, storageKey)) === 'x';
}
