import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import axe from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BackendError } from '../../lib/fleet/backend.ts';
import { hourMs, hourOf, writeHour } from '../../lib/store/history-rows.ts';
import { storageKey } from '../../lib/store/keys.ts';
import { isWhole } from '../support/extent.ts';
import { createTestFleet, type TestFleet } from '../support/fleet.ts';
import { addTenMillion, type ConsoleLab, chromiumFlags, chromiumPath, consoleOver, twelveBackends } from './kit.ts';

if (chromiumPath === undefined)
  process.stderr.write(
    'The console is not driven in a browser: there is no Chromium here (apt-get install chromium, or name one in CHROMIUM)\n',
  );

/** The pictures of docs/console.md are made by this very run: `HOLDFAST_PICTURES=docs/pictures`. */
const pictures = process.env.HOLDFAST_PICTURES;
/** A folder for a picture of every page in every look, for whoever changes the page. */
const everyLook = process.env.HOLDFAST_EVERY_LOOK;

const wide = { width: 1280, height: 900 };
const phone = { width: 390, height: 844 };
const tablet = { width: 820, height: 1180 };
const looks = [
  ['light', wide],
  ['dark', phone],
  ['light', phone],
  ['dark', wide],
  ['light', tablet],
  ['dark', tablet],
] as const;

describe.skipIf(chromiumPath === undefined)('in Chromium', () => {
  let browser: Browser;
  let page: Page;
  let fleet: TestFleet;
  let lab: ConsoleLab;
  let isCut = false;
  /** What the page itself complained of. */
  const complaints: string[] = [];
  const asked = new Set<string>();

  async function newPage(of: ConsoleLab): Promise<Page> {
    const opened = await browser.newPage({ viewport: wide });
    opened.setDefaultTimeout(300_000);
    opened.on('pageerror', (error) => complaints.push(error.message));
    opened.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    opened.on('request', (request) => asked.add(new URL(request.url()).host));
    await opened.goto(of.console.url);
    await opened.getByRole('heading', { name: 'Fleet' }).waitFor();
    return opened;
  }

  const see = (text: string | RegExp) => page.getByText(text).first().waitFor();
  const go = (name: string) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name }).click();
  const confirm = (verb: string) => page.getByRole('dialog').getByRole('button', { name: verb, exact: true }).click();
  const take = async (name: string, folder: string | undefined, fullPage = true) => {
    if (folder === undefined) return;
    await lab.poll();
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage });
  };

  beforeAll(async () => {
    fleet = await createTestFleet({
      backends: [
        { name: 'amber', quotaBytes: 400_000, egressUsdPerGb: 0.09, limits: { requests: 1_000_000 } },
        { name: 'birch', quotaBytes: 400_000, egressUsdPerGb: 0.01 },
        { name: 'cedar', quotaBytes: 400_000 },
      ],
      routing: 'spread',
      keepsHistory: true,
      env: { BREAKER_FAILURES: '2', UNHEALTHY_AFTER_SECONDS: '60', DRAIN_SETTLE_SECONDS: '0' },
    });
    fleet.before = ({ port }) => {
      if (isCut && port === 'birch') throw new BackendError('unreachable', 'birch', 'Cannot reach "birch": no answer');
    };
    for (let i = 0; i < 60; i += 1) await fleet.client.put(`photos/2026/${i}.jpg`, Buffer.alloc(1_000 + 40 * i, i));
    await fleet.settle();
    for (const worker of ['scrubber', 'reconciler'] as const) await fleet.tick(worker);
    lab = await consoleOver(fleet);
    browser = await chromium.launch({ executablePath: chromiumPath!, args: chromiumFlags });
    page = await newPage(lab);
  });

  afterAll(async () => {
    await browser?.close();
    await lab?.close();
  });

  /** Minutes of the workers, and then a look of the console. */
  async function settle(minutes: number): Promise<void> {
    await fleet.settle(['replicator', 'over-replication-cleaner', 'cleanup-queue', 'pending-reaper'], minutes);
    await lab.poll();
    await lab.poll();
  }

  test('a backend stops answering and comes back, and the page shows it without being asked', async () => {
    await see('all is well');
    isCut = true;
    for (let i = 0; i < 2; i += 1) await fleet.tick('replicator');
    fleet.clock.advance(90_000);
    await lab.poll();
    await lab.poll();
    await see('breaker open');
    await see(/Cannot reach "birch": no answer/);
    await see(/objects?: the copy on birch does not count: it has not answered for too long/);
    await see('birch does not answer: its breaker opened');
    await take('unreachable', pictures);
    isCut = false;
    await settle(12);
    await see('birch answers again: its breaker closed');
    await see('all is well');
    expect(fleet.store.rowAt('fleet', 'breaker/birch')!.data.openedAt).toBeUndefined();
  });

  test('a figure leads to its list, and the list to an object with its copies, which downloads as it was put', async () => {
    await page.getByRole('link', { name: '60', exact: true }).first().click();
    await page.getByLabel('Key, or how it begins').fill('photos/2026/7');
    await page.getByRole('button', { name: 'Find' }).click();
    await page.getByRole('link', { name: 'photos/2026/7.jpg' }).click();
    await page.getByRole('heading', { name: 'photos/2026/7.jpg' }).waitFor();
    await see('2 of 2');
    const downloading = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download, verified' }).click();
    const path = await (await downloading).path();
    expect(readFileSync(path)).toEqual(Buffer.alloc(1_280, 7));
  });

  test('a damaged object is found, and verified once its bytes are back', async () => {
    const key = 'photos/2026/9.jpg';
    const places = Object.entries(fleet.object(key).copies);
    const before = places.map(([name, copyId]) => fleet.backends[name]!.peek(storageKey(key, copyId))!);
    for (const [name, copyId] of places) fleet.backends[name]!.putNow(storageKey(key, copyId), Buffer.alloc(1_360, 1));
    await page.goto(`${lab.console.url}#/object/${encodeURIComponent(key)}`);
    await page.getByRole('button', { name: 'Verify now' }).click();
    await see('Not every copy verifies');
    await page.getByRole('link', { name: 'Overview' }).click();
    await page.getByRole('link', { name: '1 damaged' }).click();
    await page.getByRole('link', { name: key }).click();
    await see('damaged');
    await take('object', pictures);
    for (const [i, [name, copyId]] of places.entries()) {
      const { bytes, headers, metadata } = before[i]!;
      fleet.backends[name]!.putNow(storageKey(key, copyId), bytes, { headers, metadata });
    }
    await page.getByRole('button', { name: 'Verify now' }).click();
    await see('Every copy was read, and verifies');
    await see('sound');
    expect(fleet.object(key).condition).toBe('sound');
  });

  test('a drain shows what it would do, is confirmed, and runs to its end', async () => {
    await go('Overview');
    await page.getByRole('link', { name: 'cedar', exact: true }).click();
    await page.getByRole('button', { name: 'Drain …' }).click();
    await see(/copies are to be made elsewhere/);
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(fleet.store.rowAt('fleet', 'drain/cedar')).toBeUndefined();
    await page.getByRole('button', { name: 'Drain …' }).click();
    await see(/copies are to be made elsewhere/);
    await take('drain', pictures);
    await confirm('Drain');
    await see(/queue items? are left|are left,/);
    await settle(30);
    await see('nothing names this backend any more.');
    expect(fleet.keysOn('cedar')).toEqual([]);
    await page.getByRole('button', { name: 'Undrain …' }).click();
    await confirm('Undrain');
    await page.getByRole('button', { name: 'Drain …' }).waitFor();
    expect(fleet.store.rowAt('fleet', 'drain/cedar')).toBeUndefined();
  });

  test('an import is counted first, then runs with its progress', async () => {
    for (let i = 0; i < 40; i += 1) fleet.backends.birch!.putNow(`found/${i}.txt`, Buffer.from(`found ${i}`));
    await go('Import');
    await page.getByLabel('birch').check();
    await page.getByRole('button', { name: 'Dry run' }).click();
    await see('40 files that would become objects');
    expect(fleet.entry('found/0.txt')).toBeUndefined();
    // It is held up before it is told that all is recorded, so that its progress can be looked at.
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    fleet.after = ({ method }) =>
      method === 'transact' && fleet.entry('found/39.txt') !== undefined ? held : undefined;
    await page.getByRole('button', { name: 'Import …' }).click();
    await confirm('Import');
    await page.getByRole('article', { name: 'Import from birch' }).getByText('running').waitFor();
    await page.getByRole('button', { name: 'Stop: Import from birch' }).waitFor();
    release();
    fleet.after = undefined;
    await see('40 files that are objects now, where and as they are');
    await see(/\d+ keys listed/);
    expect(fleet.object('found/7.txt').copies).toEqual({ birch: '' });
  });

  test('a setting changes, is shown everywhere, and is taken back', async () => {
    await go('Settings');
    await page.getByLabel('Only those with').fill('scrubber_batch');
    const input = page.getByLabel('SCRUBBER_BATCH_SIZE', { exact: true });
    await input.fill('77');
    await page.getByRole('button', { name: 'Set SCRUBBER_BATCH_SIZE', exact: true }).click();
    await confirm('Set');
    await see('SCRUBBER_BATCH_SIZE is 77 from now on');
    expect(fleet.store.rowAt('fleet', 'settings')!.data.overrides).toEqual({ SCRUBBER_BATCH_SIZE: '77' });
    await page.getByRole('button', { name: 'Unset SCRUBBER_BATCH_SIZE' }).click();
    await confirm('Unset');
    await see('SCRUBBER_BATCH_SIZE is what each environment says');
    await go('Workers');
    await page.getByRole('button', { name: 'Pause scrubber' }).click();
    await confirm('Pause');
    await page.getByRole('button', { name: 'Resume scrubber' }).click();
    await page.getByRole('button', { name: 'Pause scrubber' }).waitFor();
    await go('Overview');
    await see('SCRUBBER_BATCH_SIZE was set to 77');
  });

  test('the history of ninety days is drawn, from what the ticks summed up', async () => {
    const now = hourOf(fleet.clock.now());
    const swing = (hour: number) => 1 + Math.sin((hour / 24) * 2 * Math.PI);
    for (let hour = 1; hour < 6 * 24; hour += 1)
      await writeHour(fleet.store, 'replicator', '0/1', {
        ...{ at: now - hour * hourMs, endedAt: now - hour * hourMs, ticks: 12, skipped: 0, deferred: 0 },
        succeeded: Math.round(40 * swing(hour)),
        failed: hour % 29 === 0 ? 3 : 0,
        ...{ requests: 90, egressBytes: 90_000, lagSeconds: Math.round(60 + 40 * swing(hour)) },
        ingressBytes: Math.round(90_000 * swing(hour)),
        ...{ objects: 60 - Math.floor(hour / 4), underReplicated: hour % 40 === 0 ? 6 : 0, queued: hour % 7 },
        usedBytes: 260_000 - 900 * hour,
      });
    await go('History');
    await page.getByRole('img', { name: /^Copies made: between 0 and 1\d\d, last/ }).waitFor();
    await page.getByRole('button', { name: 'Day', exact: true }).click();
    await page.getByRole('img', { name: /^Copies made: between/ }).waitFor();
    await page.getByRole('button', { name: 'Week', exact: true }).click();
    expect(await page.getByRole('img').count()).toBe(12);
    await take('history', pictures);
  });

  const views = ['', 'object/photos%2F2026%2F9.jpg', 'queue', 'import', 'backend/amber'];
  /** Long pages: axe looks at every row. */
  const longViews = ['objects', 'history', 'workers', 'settings'];

  test.each(isWhole ? looks : looks.slice(0, 2))(
    'axe finds nothing serious in %s at %o',
    async (colorScheme, viewport) => {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(viewport);
      for (const view of isWhole ? [...views, ...longViews] : views) {
        await page.goto(`${lab.console.url}#/${view}`);
        await page.getByRole('heading', { level: 1 }).waitFor();
        await page.getByText('Reading …').waitFor({ state: 'detached' });
        expect(await violations(page), view).toEqual([]);
        const width = await page
          .locator('html')
          .evaluate((html) => (html as unknown as { scrollWidth: number }).scrollWidth);
        expect(width, `${view || 'the overview'} is as wide as the window`).toBe(viewport.width);
        await take(`${view.replace(/\/.*/, '') || 'overview'}-${colorScheme}-${viewport.width}`, everyLook);
        if (view === '' && colorScheme === 'dark' && viewport === phone) await take('phone', pictures, false);
      }
    },
  );

  test('its first paint waits for its text and its style sheet alone: for no script, and for no table', async () => {
    const still = await createTestFleet({ backends: ['a', 'b'] });
    const calls: string[] = [];
    still.before = ({ port, method }) => void calls.push(`${port} ${method}`);
    const over = await consoleOver(still);
    const context = await browser.newContext({ javaScriptEnabled: false });
    const opened = await context.newPage();
    const sizes: [string, number][] = [];
    const sized: Promise<unknown>[] = [];
    opened.on('requestfinished', (request) => {
      const size = request
        .sizes()
        .then(({ responseBodySize }) => sizes.push([new URL(request.url()).pathname, responseBodySize]));
      sized.push(size);
    });
    await opened.goto(over.console.url);
    await opened.getByText('Reading the fleet …').waitFor();
    await opened.screenshot();
    await Promise.all(sized);
    expect(sizes.map(([path]) => path).sort()).toEqual(['/', '/page.css']);
    expect(sizes.reduce((sum, [, size]) => sum + size, 0)).toBeLessThan(8 * 1024);
    expect(calls).toEqual([]);
    await context.close();
    await over.close();
  });

  test('it paints before it knows the fleet', async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = await createTestFleet({ backends: ['a', 'b'] });
    slow.before = ({ port }) => (port === 'store' ? held : undefined);
    const over = await consoleOver(slow);
    const opened = await browser.newPage();
    await opened.goto(over.console.url);
    await opened.getByText('Reading the fleet …').waitFor();
    expect(await firstPaint(opened)).toBeGreaterThan(0);
    release();
    await opened.getByText('all is well').waitFor();
    await opened.close();
    await over.close();
  });

  test('any number of tabs is kept up to date by one stream, and reads lists all the same', async () => {
    const shared = await createTestFleet({ backends: ['a', 'b'] });
    const over = await consoleOver(shared);
    await shared.client.put('one', 'one');
    await shared.settle();
    const context = await browser.newContext();
    // Nobody looks at any of them yet: however slow this machine is, none takes the stream from another one.
    await context.addInitScript(() => {
      const seen = () => ((globalThis as { isSeen?: boolean }).isSeen ? 'visible' : 'hidden');
      Object.defineProperty((globalThis as unknown as { document: object }).document, 'visibilityState', { get: seen });
    });
    const streams: string[] = [];
    context.on('request', (request) => request.url().includes('/api/events') && streams.push(request.url()));
    const tabs: Page[] = [];
    // A browser opens six connections to one host.
    for (let i = 0; i < 7; i += 1) {
      const tab = await context.newPage();
      if (i === 6) await tab.clock.install();
      await tab.goto(over.console.url);
      await tab.getByText('all is well').waitFor();
      tabs.push(tab);
    }
    expect(streams).toHaveLength(1);
    const last = tabs.at(-1)!;
    await last.goto(`${over.console.url}#/objects`);
    await last.getByRole('link', { name: 'one', exact: true }).waitFor();
    await last.goto(`${over.console.url}#/`);
    // Whoever had the stream goes: another one takes it over.
    await tabs[0]!.close();
    await last.getByText('all is well').waitFor();
    await over.act('pause', { worker: 'scrubber' });
    for (const tab of tabs.slice(1)) await tab.getByRole('link', { name: 'The scrubber is paused' }).waitFor();
    expect(streams).toHaveLength(2);
    // Whoever has it sleeps: a tab that somebody looks at hears nothing, and takes it.
    await last.evaluate(() => Object.assign(globalThis, { isSeen: true }));
    await last.clock.fastForward(30_000);
    await expect.poll(() => streams.length).toBe(3);
    await over.act('resume', { worker: 'scrubber' });
    for (const tab of tabs.slice(1)) await tab.getByText('all is well').waitFor();
    await context.close();
    await over.close();
  });

  test('tables that do not answer are named, figures are said to be old, and it goes on once they are back', async () => {
    const flaky = await createTestFleet({ backends: ['a', 'b'] });
    const over = await consoleOver(flaky);
    const opened = await newPage(over);
    let isDown = true;
    flaky.before = ({ port }) => {
      if (port === 'store' && isDown) throw new Error('DynamoDB is unreachable');
    };
    await over.poll();
    await opened.getByRole('alert').getByText('The tables cannot be read: DynamoDB is unreachable').waitFor();
    await opened.getByText('not up to date').waitFor();
    await opened.goto(`${over.console.url}#/objects`);
    await opened.getByText('DynamoDB is unreachable').nth(1).waitFor();
    isDown = false;
    await over.poll();
    await opened.getByText('live', { exact: true }).waitFor();
    expect(await opened.getByRole('alert').count()).toBe(0);
    complaints.length = 0;
    await opened.close();
    await over.close();
  });

  test('an action is sent once however often it is clicked; a console that has ended is named', async () => {
    const small = await createTestFleet({ backends: ['a', 'b'] });
    const over = await consoleOver(small);
    const opened = await newPage(over);
    await opened.goto(`${over.console.url}#/workers`);
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await over.act('pause', { worker: 'scrubber' });
    small.before = ({ port, method }) => (port === 'store' && method === 'write' ? held : undefined);
    let sent = 0;
    opened.on('request', (request) => {
      sent += Number(request.method() === 'POST');
    });
    await opened.getByRole('button', { name: 'Resume scrubber' }).dblclick();
    release();
    await opened.getByRole('button', { name: 'Pause scrubber' }).waitFor();
    expect(sent).toBe(1);
    await over.close();
    await opened.getByText('connection lost').waitFor();
    await opened.getByRole('button', { name: 'Pause scrubber' }).click();
    await opened.getByRole('dialog').getByRole('button', { name: 'Pause', exact: true }).click();
    await opened.getByText(/The console did not answer: has it ended\?/).waitFor();
    complaints.length = 0;
    await opened.close();
  });

  test('a key that is markup is text', async () => {
    const key = '<img src=x onerror="document.title=1"><script>alert(1)</script>.txt';
    await fleet.client.put(key, 'markup');
    await page.goto(`${lab.console.url}#/objects?prefix=%3Cimg`);
    await page.getByRole('link', { name: key }).click();
    await page.getByRole('heading', { name: key }).waitFor();
    expect(await page.locator('main img').count()).toBe(0);
    await fleet.client.delete(key);
  });

  test('a key that would turn the text around, or hide in it, is written out', async () => {
    const key = 'odd/\u202egpj.exe\u200b\u0007';
    await fleet.client.put(key, 'odd');
    await page.goto(`${lab.console.url}#/objects?prefix=odd`);
    await page.getByRole('link', { name: 'odd/\\u202egpj.exe\\u200b\\u0007' }).click();
    await page.getByRole('heading', { name: 'odd/\\u202egpj.exe\\u200b\\u0007' }).waitFor();
    await see('sound');
    await fleet.client.delete(key);
  });

  test('everything is reached by the keyboard, and a question keeps it until it is answered', async () => {
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize(wide);
    await page.goto(`${lab.console.url}#/workers`);
    await page.reload();
    await page.getByRole('heading', { name: 'Workers', level: 1 }).waitFor();
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Skip to the content');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Pause replicator');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Tab');
    expect(['Pause', 'Cancel']).toContain(await focused(page));
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(fleet.store.rowAt('fleet', 'settings')?.data.paused ?? []).toEqual([]);
  });

  test('a console that only shows offers nothing that changes anything', async () => {
    const readOnly = await consoleOver(fleet, { isReadOnly: true });
    const opened = await newPage(readOnly);
    await opened.getByText('read-only').waitFor();
    for (const view of ['', 'workers', 'settings', 'backend/amber', 'import', 'object/photos%2F2026%2F9.jpg']) {
      await opened.goto(`${readOnly.console.url}#/${view}`);
      await opened.getByRole('heading', { level: 1 }).waitFor();
      await opened.getByText('Reading …').waitFor({ state: 'detached' });
      const names = await opened.getByRole('button').allTextContents();
      expect(names.filter((name) => !/^(Skip to the content|Find|Read again|Show more)$/.test(name))).toEqual([]);
    }
    await opened.close();
    await readOnly.close();
  });

  test('it serves a fleet of twelve backends and ten million objects as it does a small one', async () => {
    const large = await createTestFleet({ backends: twelveBackends });
    addTenMillion(large);
    const over = await consoleOver(large);
    const opened = await newPage(over);
    await opened.getByText('10,000,0').first().waitFor();
    if (isWhole) expect(await violations(opened)).toEqual([]);
    await opened.close();
    await over.close();
  });

  test('it serves two backends and five objects, too', async () => {
    const small = await createTestFleet({ backends: ['a', 'b'] });
    for (const key of ['one', 'two', 'three', 'four', 'five']) await small.client.put(key, key);
    await small.settle();
    const over = await consoleOver(small);
    const opened = await newPage(over);
    await opened.getByText('all is well').waitFor();
    await opened.close();
    await over.close();
  });

  test('the page asked nobody but its console for anything, and complained of nothing', () => {
    expect([...asked].filter((host) => !host.startsWith('127.0.0.1:'))).toEqual([]);
    expect(complaints).toEqual([]);
  });
});

/** Milliseconds after the request; undefined before it. */
function firstPaint(page: Page): Promise<number | undefined> {
  return page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
}

/** What axe finds that is serious or worse. */
async function violations(page: Page): Promise<string[]> {
  // Not as a script of the page: its policy would rightly refuse it.
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const run = (globalThis as unknown as { axe: typeof axe }).axe;
    return (await run.run()).violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      nodes: nodes.map((n) => n.html),
    }));
  });
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).join(' ')}`);
}

/** The name of what the keyboard is on. */
function focused(page: Page): Promise<string> {
  return page.locator(':focus').evaluate((one) => {
    const on = one as unknown as { getAttribute(name: string): string | null; textContent: string };
    return on.getAttribute('aria-label') ?? on.textContent;
  });
}
