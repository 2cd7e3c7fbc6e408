import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bareEnv, type CliLab, entry, startCli } from './kit.ts';

/** What differs at a terminal: it is injected, and what is asked of the system is a device, a pipe, or a file that is one. */
let lab: CliLab;

beforeAll(async () => {
  lab = await startCli({ backends: 3 });
  await lab.json(['init']);
});
afterAll(() => lab.close());

const contentOf = async (key: string) => (await lab.run(['get', key])).stdout;

describe('put', () => {
  test('without a file at a terminal says that it reads what is typed; from a pipe it says nothing', async () => {
    const typed = await lab.run(['put', 'typed'], { stdin: 'typed text', terminals: ['stdin'] });
    const piped = await lab.run(['put', 'piped'], { stdin: 'piped text' });
    expect([typed.code, typed.stderr]).toEqual([0, 'Reading the content from this terminal; Ctrl-D ends it\n']);
    expect([piped.code, piped.stderr]).toEqual([0, '']);
    expect(await contentOf('typed')).toBe('typed text');
  });

  test('takes nothing for content only from a file or a pipe: what is there stays', async () => {
    await lab.holdfast.put('kept', 'content');
    writeFileSync(join(lab.dir, 'empty'), '');
    const run = async (path: string, terminals: readonly 'stdin'[] = []) => {
      const fd = openSync(path, 'r');
      try {
        return await lab.run(['put', 'kept'], { stdin: '', stdinFd: fd, terminals });
      } finally {
        closeSync(fd);
      }
    };
    for (const ran of [await run('/dev/null'), await run('/dev/null', ['stdin'])]) {
      expect(ran.code).toBe(2);
      expect(ran.stderr).toContain('Cannot put what is on stdin: it is neither a file nor a pipe');
    }
    expect(await contentOf('kept')).toBe('content');
    expect((await run(join(lab.dir, 'empty'))).code).toBe(0);
    expect(await contentOf('kept')).toBe('');
    expect((await lab.run(['put', 'kept', '/dev/null'])).code).toBe(0);
  });

  test('reads a pipe that has a name to its end, and what a link leads to; a folder is named', async () => {
    const fifo = join(lab.dir, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const writer = spawn('sh', ['-c', `printf 'through a pipe' > '${fifo}'`]);
    const ended = once(writer, 'close');
    expect((await lab.run(['put', 'from a pipe', 'fifo'])).code).toBe(0);
    await ended;
    expect(await contentOf('from a pipe')).toBe('through a pipe');
    writeFileSync(join(lab.dir, 'real.txt'), 'real');
    symlinkSync('real.txt', join(lab.dir, 'link.txt'));
    expect((await lab.run(['put', 'from a link', 'link.txt'])).code).toBe(0);
    expect(await contentOf('from a link')).toBe('real');
    const folder = await lab.run(['put', 'k', '.']);
    expect([folder.code, folder.stderr]).toEqual([1, 'error: Cannot read ".": it is a folder\n']);
  });

  test('of a large file shows how far it has come at a terminal, and nowhere else', async () => {
    writeFileSync(join(lab.dir, 'large.bin'), Buffer.alloc(3 * 2 ** 20, 'x'));
    const put = (more: readonly string[], terminals: readonly 'stderr'[]) =>
      lab.run(['put', 'large', 'large.bin', ...more], { terminals });
    const atTerminal = await put([], ['stderr']);
    const [first, ...lines] = atTerminal.stderr.split('\u001b[K');
    expect(first).toMatch(/^\rreading [\d.]+ [KM]iB of 3\.0 MiB · [\d.]+ \wiB\/s · [\d.]+ m?s left$/);
    // The line is gone at the end.
    expect(lines.slice(-2)).toEqual(['\r', '']);
    expect(atTerminal.stdout).toMatch(/^put large {2}3\.0 MiB {2}sha256 [0-9a-f]{64}\n$/);
    expect((await put([], [])).stderr).toBe('');
    expect((await put(['--json'], ['stderr'])).stderr).toBe('');
  });
});

describe('get', () => {
  test('of a large file into a file shows how far it has come at a terminal, and nowhere else', async () => {
    await lab.holdfast.put('large too', Buffer.alloc(3 * 2 ** 20, 'x'));
    const get = (terminals: readonly 'stderr'[]) => lab.run(['get', 'large too', 'large.out'], { terminals });
    expect((await get(['stderr'])).stderr).toMatch(/^\rgetting [\d.]+ [KM]iB of 3\.0 MiB · [\d.]+ \wiB\/s · /);
    expect((await get([])).stderr).toBe('');
    expect(statSync(join(lab.dir, 'large.out')).size).toBe(3 * 2 ** 20);
  });

  test('writes no binary to a terminal, unless - says so; text, and whatever a pipe takes, is written', async () => {
    const binary = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 0xff]);
    await lab.holdfast.put('binary', binary);
    await lab.holdfast.put('text', 'Grüße\n');
    const refused = await lab.run(['get', 'binary'], { terminals: ['stdout'] });
    expect([refused.code, refused.bytes.length]).toEqual([2, 0]);
    expect(refused.stderr).toContain('"binary" is not text: name a file for it, or - to write it to this terminal');
    expect((await lab.run(['get', 'binary', '-'], { terminals: ['stdout'] })).bytes).toEqual(binary);
    expect((await lab.run(['get', 'binary'])).bytes).toEqual(binary);
    expect((await lab.run(['get', 'text'], { terminals: ['stdout'] })).stdout).toBe('Grüße\n');
  });

  test('replaces no device and no pipe by a file of that name', async () => {
    await lab.holdfast.put('k', 'content');
    execFileSync('mkfifo', [join(lab.dir, 'kept-pipe')]);
    for (const file of ['kept-pipe', '/dev/full', '/dev/null']) {
      const ran = await lab.run(['get', 'k', file]);
      expect([file, ran.code]).toEqual([file, 1]);
      expect(ran.stderr).toContain('it is a device or a pipe, and no regular file');
    }
    expect(statSync(join(lab.dir, 'kept-pipe')).isFIFO()).toBe(true);
    expect(statSync('/dev/full').isCharacterDevice()).toBe(true);
    expect(readdirSync(lab.dir).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  test('fails where what it prints to is full', async () => {
    await lab.holdfast.put('printed', 'content');
    const full = openSync('/dev/full', 'w');
    // Not waited for in one go: the servers that it reads from are in this process.
    const child = spawn(process.execPath, [entry, 'get', 'printed'], {
      env: bareEnv(lab.stack.env),
      stdio: ['ignore', full, 'pipe'],
    });
    const stderr = text(child.stderr!);
    const [code] = await once(child, 'close');
    closeSync(full);
    expect([code, await stderr]).toEqual([1, expect.stringContaining('no space left on device')]);
  });
});

describe('what is asked', () => {
  const atTerminal = (args: readonly string[], stdin: string) => lab.run(args, { stdin, terminals: ['stdin'] });

  test.each(['n\n', '\n', '', 'yes please\n'])('rm -r deletes nothing when the answer is %j', async (answer) => {
    await lab.holdfast.put('asked/one', 'x');
    const ran = await atTerminal(['rm', '-r', 'asked'], answer);
    expect(ran.stderr).toContain('Delete 1 object (1 B) that "asked" names? [y/N] ');
    expect([ran.code, ran.stdout]).toEqual([1, 'Nothing was deleted\n']);
    expect(await contentOf('asked/one')).toBe('x');
  });

  test('rm -r deletes after a yes', async () => {
    await lab.holdfast.put('asked/one', 'x');
    expect(await atTerminal(['rm', '-r', 'asked'], 'y\n')).toMatchObject({ code: 0 });
    expect((await lab.run(['get', 'asked/one'])).code).toBe(1);
  });

  test('drain says what it would lead to, and begins after a yes; --yes, and where nobody is there, it begins at once', async () => {
    await lab.holdfast.put('drained', 'x');
    const plan = /To drain local-1, which holds \d+ objects?: .*\nDrain local-1\? \[y\/N\] /;
    const isDraining = async () => {
      const { backends } = await lab.json<{ backends: { name: string; draining: boolean }[] }>(['status']);
      return backends.find(({ name }) => name === 'local-1')!.draining;
    };
    for (const answer of ['n\n', '']) {
      const declined = await atTerminal(['drain', 'local-1'], answer);
      expect(declined.stderr).toMatch(plan);
      expect([declined.code, declined.stdout]).toEqual([1, 'Nothing was begun\n']);
    }
    expect(await isDraining()).toBe(false);
    for (const begin of [
      () => atTerminal(['drain', 'local-1'], 'y\n'),
      () => atTerminal(['drain', 'local-1', '--yes'], ''),
      () => lab.run(['drain', 'local-1']),
      () => lab.run(['drain', 'local-1', '--json'], { terminals: ['stdin'] }),
    ]) {
      const begun = await begin();
      expect([begun.code, await isDraining()]).toEqual([0, true]);
      // What drains already is told of, and not asked about.
      expect((await atTerminal(['drain', 'local-1'], '')).stderr).toBe('');
      await lab.json(['undrain', 'local-1']);
    }
    const mistaken = await atTerminal(['drain', 'nowhere'], 'y\n');
    expect([mistaken.code, mistaken.stderr]).toEqual([
      2,
      expect.stringMatching(/^error: There is no backend "nowhere"/),
    ]);
  });
});

describe('completion', () => {
  /** What a shell offers for the last of some words. */
  const offered = (words: readonly string[]): string[] => {
    const quoted = words.map((word) => `'${word}'`).join(' ');
    const script = `source completion.bash; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _holdfast
      printf '%s\\n' "\${COMPREPLY[@]}"; complete -p holdfast`;
    const out = execFileSync('bash', ['--norc', '-c', script], { cwd: lab.dir, encoding: 'utf8' });
    return out.split('\n').filter((line) => line !== '');
  };

  test('of bash offers verbs, the flags of a verb, and files', async () => {
    writeFileSync(join(lab.dir, 'completion.bash'), (await lab.run(['completion', 'bash'])).stdout);
    const registered = 'complete -o filenames -F _holdfast holdfast';
    expect(offered(['holdfast', 'und']).sort()).toEqual([registered, 'undelete', 'under-replicated', 'undrain']);
    expect(offered(['holdfast', 'drain', '--d'])).toEqual(['--delete-imported', '--dry-run', registered]);
    writeFileSync(join(lab.dir, 'offered file.txt'), '');
    expect(offered(['holdfast', 'put', 'k', 'offered'])).toEqual(['offered file.txt', registered]);
  });

  test('of every shell names every verb and flag', async () => {
    const help = (await lab.run(['--help'])).stdout.split('Commands:')[1]!;
    const verbs = [...help.matchAll(/^ {2}([a-z-]+)[ [<]/gm)]
      .map(([, verb]) => verb!)
      .filter((verb) => verb !== 'help');
    expect(verbs.length).toBeGreaterThan(25);
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { stdout } = await lab.run(['completion', shell]);
      for (const verb of verbs) {
        expect(stdout).toMatch(new RegExp(`\\b${verb}\\b`));
        const flags = [...(await lab.run(['help', verb])).stdout.matchAll(/^ {2}(?:-\w, )?--([a-z-]+)/gm)];
        for (const [, flag] of flags.filter(([, name]) => name !== 'help'))
          expect(stdout).toMatch(shell === 'fish' ? new RegExp(`from ${verb}" -l ${flag}$`, 'm') : `--${flag}`);
      }
    }
    const unknown = await lab.run(['completion', 'tcsh']);
    expect([unknown.code, unknown.stderr]).toEqual([
      2,
      'error: There is no completion for "tcsh"; there are bash, fish, zsh\n',
    ]);
  });
});
