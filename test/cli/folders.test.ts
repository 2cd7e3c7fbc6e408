import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createProcess } from '../../lib/process/process.ts';
import { type CliLab, startCli } from './kit.ts';

let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 2 });
  await lab.json(['init']);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(lab.dir, 'photos', name, '..'), { recursive: true });
    writeFileSync(join(lab.dir, 'photos', name), text);
  }
});
afterAll(() => lab.close());

const files: Record<string, string> = {
  'cat.jpg': 'a cat',
  'deep/er/notes.txt': 'notes',
  'deep/page.html': '<p>',
  'ümlaut name': 'odd',
  empty: '',
};
const names = Object.keys(files).sort();

interface Done {
  readonly done: number;
  readonly same: number;
  readonly isComplete: boolean;
  readonly problems: readonly { readonly name: string; readonly why: string }[];
}

test('a folder is put under a prefix, with content types by name; again, nothing is sent [commands-go-on]', async () => {
  expect(await lab.json<Done>(['put', '-r', 'photos', 'album'])).toMatchObject({ done: 5, same: 0, isComplete: true });
  expect(await lab.json<Done>(['put', '-r', 'photos', 'album/'])).toMatchObject({ done: 0, same: 5, isComplete: true });
  const object = await lab.holdfast.get('album/deep/page.html');
  expect(object!.headers.contentType).toBe('text/html');
  writeFileSync(join(lab.dir, 'photos', 'cat.jpg'), 'b cat');
  expect(await lab.json<Done>(['put', '-r', 'photos', 'album'])).toMatchObject({ done: 1, same: 4 });
  writeFileSync(join(lab.dir, 'photos', 'cat.jpg'), 'a cat');
  expect(await lab.json<Done>(['put', '-r', 'photos', 'album'])).toMatchObject({ done: 1, same: 4 });
});

test('a prefix is got into a folder, byte for byte; again, nothing is written; what was changed is mended [commands-go-on]', async () => {
  await lab.holdfast.put('album2/not-mine', 'x');
  expect(await lab.json<Done>(['get', '-r', 'album', 'out'])).toMatchObject({ done: 5, same: 0 });
  const found = readdirSync(join(lab.dir, 'out'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(lab.dir, 'out').length + 1));
  expect(found.sort()).toEqual(names);
  for (const name of names) expect(readFileSync(join(lab.dir, 'out', name), 'utf8')).toBe(files[name]);
  writeFileSync(join(lab.dir, 'out', 'cat.jpg'), 'spoil');
  expect(await lab.json<Done>(['get', '-r', 'album/', 'out'])).toMatchObject({ done: 1, same: 4 });
  expect(readFileSync(join(lab.dir, 'out', 'cat.jpg'), 'utf8')).toBe('a cat');
});

test.each([
  ['../escaped', '"." and ".." are no names of files'],
  ['/etc/absolute', 'it begins with a slash'],
  ['a//b', 'there is nothing between two slashes'],
  ['marker/', 'it ends with a slash'],
  ['nul\u0000byte', 'a file name cannot hold a NUL'],
  ['x/../../y', '"." and ".." are no names of files'],
  ['n'.repeat(300), 'a file name cannot have 300 bytes'],
  ['link/inside', 'it may lead out of the folder'],
  ['file/below', 'is a file, and would have to be a folder'],
  ['dir', 'a folder, which is not written over'],
  ['pipe', 'is a pipe, no regular file, which is not written over'],
  ['n'.repeat(256), 'a file name cannot have 256 bytes'],
])('the key %j writes nothing outside the folder, and is named [files-stay-inside]', async (key, why) => {
  const folder = join(lab.dir, 'trap', 'in');
  mkdirSync(join(folder, 'dir'), { recursive: true });
  mkdirSync(join(lab.dir, 'trap', 'elsewhere'), { recursive: true });
  writeFileSync(join(folder, 'file'), 'mine');
  if (!existsSync(join(folder, 'link'))) symlinkSync(join(lab.dir, 'trap', 'elsewhere'), join(folder, 'link'));
  if (!existsSync(join(folder, 'pipe'))) execFileSync('mkfifo', [join(folder, 'pipe')]);
  await lab.holdfast.put(`hostile/${key}`, 'boo');
  const ran = await lab.run(['get', '-r', 'hostile', folder, '--json']);
  await lab.holdfast.delete(`hostile/${key}`);
  expect(ran.code).toBe(1);
  expect(ran.json<Done>().problems).toEqual([{ name: `hostile/${key}`, why: expect.stringContaining(why) }]);
  expect(readdirSync(join(lab.dir, 'trap'), { recursive: true }).sort()).toEqual(
    ['elsewhere', 'in', 'in/dir', 'in/file', 'in/link', 'in/pipe'].sort(),
  );
  expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('mine');
});

test('patterns name objects for ls, get and rm; many are deleted only by somebody who is sure [many-deletions-ask]', async () => {
  for (const key of ['docs/a.txt', 'docs/b.txt', 'docs/sub/c.txt', 'docs/d.md', 'docs[x]'])
    await lab.holdfast.put(key, key);
  const keys = async (pattern: string) => (await lab.json<{ key: string }[]>(['ls', pattern])).map(({ key }) => key);
  expect(await keys('docs/*.txt')).toEqual(['docs/a.txt', 'docs/b.txt']);
  expect(await keys('docs/**.txt')).toEqual(['docs/a.txt', 'docs/b.txt', 'docs/sub/c.txt']);
  expect(await keys('docs/[!a].*')).toEqual(['docs/b.txt', 'docs/d.md']);
  expect(await lab.json<Done>(['get', 'docs/*.txt', 'texts'])).toMatchObject({ done: 2 });
  expect(readdirSync(join(lab.dir, 'texts'))).toEqual(['a.txt', 'b.txt']);

  const unsure = await lab.run(['rm', 'docs/*.txt']);
  expect(unsure.code).toBe(2);
  expect(unsure.stderr).toContain('--yes');
  expect(await keys('docs/')).toHaveLength(4);
  const none = await lab.run(['rm', 'nothing/*', '--yes']);
  expect(none.code).toBe(1);
  expect(none.stderr).toContain('No object is named by "nothing/*"');
  expect(await lab.json<Done>(['rm', 'docs/*.txt', '--yes'])).toMatchObject({ done: 2 });
  expect(await keys('docs/')).toEqual(['docs/d.md', 'docs/sub/c.txt']);
  // A key that looks like a pattern is a key first.
  expect(await lab.json(['rm', 'docs[x]'])).toEqual({ key: 'docs[x]', deleted: true });
  expect(await lab.json<Done>(['rm', '-r', 'docs', '--yes'])).toMatchObject({ done: 2 });
});

test('Ctrl-C ends a put of a folder after what is in flight; the same command goes on from there [commands-go-on]', async () => {
  mkdirSync(join(lab.dir, 'many'));
  const all = ['a', ...Array.from({ length: 39 }, (_, i) => `b${i}`)];
  for (const name of all) writeFileSync(join(lab.dir, 'many', name), name);
  const servers = lab.stack.backends.map(({ server }) => server);
  // The first file gets through; what the other lanes have begun by then waits.
  for (const { faults, requests } of servers) {
    requests.clear();
    faults.add({ kind: 'hang', id: 'hang', match: { operation: 'PutObject', keyPrefix: 'many/b' } });
  }
  const running = lab.run(['put', '-r', 'many', 'many', '--json']);
  const isFirstPut = () =>
    servers.some(({ requests }) => requests.count({ operation: 'PutObject', keyPrefix: 'many/a' }) > 0);
  while (!isFirstPut()) await Promise.race(servers.map(({ requests }) => requests.next()));
  process.emit('SIGINT');
  for (const { faults } of servers) faults.clear('hang');

  const stopped = await running;
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toContain('SIGINT: what is in flight ends first');
  const { done, isComplete } = stopped.json<Done>();
  expect({ isComplete, isBegun: done > 0, isCut: done < 20 }).toEqual({
    isComplete: false,
    isBegun: true,
    isCut: true,
  });
  expect(await lab.json<Done>(['put', '-r', 'many', 'many'])).toMatchObject({ done: 40 - done, same: done });
});

test('whoever breaks off a single put is told that it may take effect yet, and where to look', async () => {
  writeFileSync(join(lab.dir, 'one'), 'one');
  const servers = lab.stack.backends.map(({ server }) => server);
  for (const { faults } of servers)
    faults.add({ kind: 'hang', id: 'hang', match: { operation: 'PutObject', keyPrefix: 'in it' } });
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
  const { store } = createProcess({ env: lab.stack.env });
  const running = lab.run(['put', 'in it', 'one']);
  const isBegun = async () => (await store.everyQueueItem(undefined, 100)).items.some(({ key }) => key === 'in it');
  while (!(await isBegun()));
  process.emit('SIGTERM', 'SIGTERM');
  for (const { faults } of servers) faults.clear('hang');
  const { stderr } = await running;
  expect(exit).toHaveBeenCalledWith(143);
  expect(stderr).toContain('"in it" was not acknowledged');
  expect(stderr).toContain("`holdfast locate 'in it'` shows it");
  exit.mockRestore();
});

test('of a tree, what cannot be put is named, and the rest is put: links, pipes, names and folders that cannot be read [messages-name-the-cause]', async () => {
  const tree = join(lab.dir, 'odd');
  mkdirSync(join(tree, 'sub', '.holdfast-export'), { recursive: true });
  mkdirSync(join(tree, '.holdfast-export'));
  writeFileSync(join(tree, 'sub', '.holdfast-export', 'x'), 'of the person');
  writeFileSync(join(tree, '.holdfast-export', 'x'), 'of an export');
  const longest = `${'ü'.repeat(127)}n`;
  for (const name of ['-dash', 'new\nline', 'back\\slash', 'u\u0308', '\u00fc', longest])
    writeFileSync(join(tree, name), name);
  symlinkSync('sub', join(tree, 'link'));
  writeFileSync(join(tree, 'sub', '.holdfast-0123456789ab.part'), 'half');
  execFileSync('sh', ['-c', `mkfifo pipe; printf x > "$(printf 'bad\\377')"; mkdir "$(printf 'dir\\377')"`], {
    cwd: tree,
  });
  // A folder whose path is longer than a call takes is made of two.
  const half = Array.from({ length: 9 }, () => 'd'.repeat(250));
  for (const top of ['deep', 'deeper']) mkdirSync(join(tree, top, ...half), { recursive: true });
  renameSync(join(tree, 'deeper'), join(tree, 'deep', ...half, 'deeper'));
  const ran = await lab.run(['put', '-r', 'odd', 'odd', '--json']);
  execFileSync('rm', ['-rf', join(tree, 'deep')]);

  expect(ran.code).toBe(1);
  const { done, problems } = ran.json<Done>();
  const why = (part: string) => problems.filter(({ name }) => name.startsWith(`odd/${part}`)).map((one) => one.why);
  expect(why('bad')).toEqual(['its name is not UTF-8']);
  expect(why('dir')).toEqual(['its name is not UTF-8']);
  expect(why('deep')).toEqual(['Cannot read the folder: name too long']);
  expect(why('link')).toEqual(['it is a symbolic link, which is not followed']);
  expect(why('pipe')).toEqual(['it is a pipe, no regular file']);
  expect({ done, problems: problems.length }).toEqual({ done: 7, problems: 6 });
  expect(why('sub/')).toEqual(['it is what a command that was killed left of a file']);
  expect(ran.stderr).toContain('What an export keeps for itself is passed over');
  expect(await lab.json<Done>(['get', '-r', 'odd', 'odd-back'])).toMatchObject({ done: 7 });
  for (const name of [longest, '-dash', 'new\nline', 'u\u0308', '\u00fc'])
    expect(readFileSync(join(lab.dir, 'odd-back', name), 'utf8')).toBe(name);
});

test('what names nothing makes no folder, and a folder that cannot stand is named [messages-name-the-cause]', async () => {
  writeFileSync(join(lab.dir, 'in-the-way'), '');
  for (const verb of [['get', '-r'], ['export']]) {
    const none = await lab.run([...verb, 'nothing-here', 'made-for-nothing']);
    expect([none.code, none.stderr]).toEqual([1, 'error: No object is named by "nothing-here"\n']);
    expect(existsSync(join(lab.dir, 'made-for-nothing'))).toBe(false);
    const sentence = (folder: string, why: string) => `error: Cannot write to the folder "${folder}": ${why}\n`;
    const inTheWay = await lab.run([...verb, 'album*/**', 'in-the-way']);
    expect([inTheWay.code, inTheWay.stderr]).toEqual([1, sentence('in-the-way', 'it is no folder')]);
    const below = await lab.run([...verb, 'album*/**', 'in-the-way/below']);
    expect([below.code, below.stderr]).toEqual([1, sentence('in-the-way/below', 'not a directory')]);
    // Where folders cannot be made, one call of the system would go round for ever.
    const nowhere = await lab.run([...verb, 'album*/**', '/proc/nowhere']);
    expect([nowhere.code, nowhere.stderr]).toEqual([1, sentence('/proc/nowhere', 'no such file or directory')]);
  }
  const pattern = await lab.run(['get', 'album*/**']);
  expect([pattern.code, pattern.stderr]).toEqual([
    2,
    'error: There is no object "album*/**"; what a pattern matches needs a folder to go to\n',
  ]);
});

test('ls --long says hash and backends', async () => {
  const { sha256 } = await lab.holdfast.put('long/one', 'x');
  expect(await lab.json(['ls', '-l', 'long/'])).toEqual([
    expect.objectContaining({ key: 'long/one', sha256, backends: ['local-1'] }),
  ]);
  expect((await lab.run(['ls', '--long', 'long/'])).stdout).toContain('local-1');
});

test('get writes what a link leads to, keeps the mode of a file, and refuses a device', async () => {
  await lab.holdfast.put('linked', 'new');
  writeFileSync(join(lab.dir, 'real'), 'old');
  chmodSync(join(lab.dir, 'real'), 0o640);
  symlinkSync('real', join(lab.dir, 'alias'));
  symlinkSync('/dev/full', join(lab.dir, 'device'));
  expect((await lab.run(['get', 'linked', 'alias'])).code).toBe(0);
  expect(readFileSync(join(lab.dir, 'real'), 'utf8')).toBe('new');
  expect(statSync(join(lab.dir, 'real')).mode & 0o777).toBe(0o640);
  for (const file of ['/dev/full', 'device']) {
    const ran = await lab.run(['get', 'linked', file]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('it is a device or a pipe, and no regular file');
  }
  expect(statSync('/dev/full').isCharacterDevice()).toBe(true);
});

test('nothing on a stdin that is neither a file nor a pipe replaces nothing', async () => {
  await lab.holdfast.put('kept', 'content');
  const { spawnSync } = await import('node:child_process');
  const { entry, bareEnv } = await import('./kit.ts');
  const ran = spawnSync(process.execPath, [entry, 'put', 'kept'], {
    env: bareEnv(lab.stack.env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  expect(ran.status).toBe(2);
  expect(String(ran.stderr)).toContain('neither a file nor a pipe');
  expect((await lab.run(['get', 'kept'])).stdout).toBe('content');
});
