/**
 * `npm run bench:console`: how long the console's page takes on the embedded stack, in headless Chromium. Each page is opened in
 * a browser profile of its own, so that nothing is cached. Medians, and the slowest.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { startConsole } from '../../lib/console/console.ts';
import { startStack } from '../../lib/local/stack.ts';
import { apply } from '../../lib/operations/apply.ts';
import { createProcess } from '../../lib/process/process.ts';
import { chromiumFlags, chromiumPath } from '../console/kit.ts';

const runs = Number(process.argv[2] ?? 9);
/** Of the first paint. */
const mostMs = 1_000;
const say = (line: string) => process.stdout.write(`${line}\n`);

if (chromiumPath === undefined) say('There is no Chromium here: name one in CHROMIUM');
else await measure(chromiumPath);

interface Opened {
  readonly firstPaintMs: number;
  /** Until the figures of the fleet are there. */
  readonly figuresMs: number;
  /** Compressed, as they were sent. */
  readonly bytes: number;
}

async function measure(executablePath: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-console-'));
  const stack = await startStack({ dir, backends: 3 });
  const holdfast = createProcess({ env: stack.env });
  await holdfast.createTables();
  await apply(holdfast, stack.fleet);
  const served = await startConsole(holdfast);
  const browser = await chromium.launch({ executablePath, args: chromiumFlags });
  try {
    await open(browser, served.url);
    const all: Opened[] = [];
    for (let run = 0; run < runs; run += 1) all.push(await open(browser, served.url));
    report(all);
  } finally {
    await browser.close();
    await served.close();
    await holdfast.close();
    await stack.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function open(browser: Browser, url: string): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const sizes: Promise<number>[] = [];
  page.on('requestfinished', (request) => sizes.push(request.sizes().then(({ responseBodySize }) => responseBodySize)));
  await page.goto(url);
  await page.getByRole('heading', { name: 'Fleet' }).waitFor();
  const times = await page.evaluate(() => ({
    figuresMs: performance.now(),
    firstPaintMs: performance.getEntriesByName('first-contentful-paint')[0]!.startTime,
  }));
  const bytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  await context.close();
  return { ...times, bytes };
}

function report(all: readonly Opened[]): void {
  say(`${all.length} pages, after one that is not counted; Node ${process.version}`);
  const line = (name: string, of: (one: Opened) => number) => {
    const sorted = all.map(of).sort((a, b) => a - b);
    const [median, slowest] = [sorted[Math.floor(sorted.length / 2)]!, sorted.at(-1)!];
    say(`${name.padEnd(28)} median ${median.toFixed(0)}, slowest ${slowest.toFixed(0)}`);
    return median;
  };
  const firstPaint = line('first paint, ms', ({ firstPaintMs }) => firstPaintMs);
  line('figures of the fleet, ms', ({ figuresMs }) => figuresMs);
  line('page as it is sent, bytes', ({ bytes }) => bytes);
  if (firstPaint <= mostMs) return;
  process.stderr.write(`The first paint takes more than ${mostMs} ms\n`);
  process.exitCode = 1;
}
