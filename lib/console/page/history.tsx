import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import type { HistoryHour } from '../protocol.ts';
import { bytes, count, span, utcTime } from './figures.ts';
import { Awaited, type Loaded, Panel, useLoaded } from './parts.tsx';

interface Chart {
  readonly title: string;
  readonly isBars?: true;
  value(hour: HistoryHour): number | undefined;
  text(value: number): string;
}

const charts: readonly Chart[] = [
  { title: 'Copies made', isBars: true, value: ({ copiesMade }) => copiesMade, text: count },
  { title: 'Bytes moved by workers', isBars: true, value: ({ bytesMoved }) => bytesMoved, text: bytes },
  { title: 'Longest wait for the last copy', value: ({ lagSeconds }) => lagSeconds, text: span },
  { title: 'Copies verified', isBars: true, value: ({ verified }) => verified, text: count },
  { title: 'Used on all backends', value: ({ usedBytes }) => usedBytes, text: bytes },
  { title: 'Objects', value: ({ objects }) => objects, text: count },
  { title: 'Under-replicated', value: ({ underReplicated }) => underReplicated, text: count },
  { title: 'In the queue', value: ({ queued }) => queued, text: count },
  { title: 'Deletions', isBars: true, value: ({ deleted }) => deleted, text: count },
  { title: 'Failed items', isBars: true, value: ({ failed }) => failed, text: count },
  { title: 'Requests', isBars: true, value: ({ requests }) => requests, text: count },
  { title: 'Egress', isBars: true, value: ({ egressBytes }) => egressBytes, text: bytes },
];

const spans = [
  ['Day', 24],
  ['Week', 7 * 24],
  ['Month', 30 * 24],
  ['90 days', 90 * 24],
] as const;
const hourMs = 3_600_000;

/** Counts over time, from the summaries of the ticks that worked. */
export function HistoryPage() {
  const loaded: Loaded<readonly HistoryHour[]> = useLoaded('/api/history');
  const [hours, setHours] = useState<number>(7 * 24);
  return (
    <>
      <h1>History</h1>
      <div class="buttons">
        {spans.map(([name, length]) => (
          <button type="button" aria-pressed={length === hours} onClick={() => setHours(length)} key={name}>
            {name}
          </button>
        ))}
        <button type="button" onClick={loaded.reload}>
          Read again
        </button>
      </div>
      <Awaited of={loaded}>
        {(all) => {
          const last = all.at(-1)?.at ?? 0;
          const chosen = all.filter(({ at }) => at > last - hours * hourMs);
          if (chosen.length === 0) return <p class="empty">No worker has worked yet: there is no history.</p>;
          return (
            <div class="charts">
              {charts.map((chart) => (
                <ChartPanel chart={chart} hours={chosen} span={hours} key={chart.title} />
              ))}
            </div>
          );
        }}
      </Awaited>
    </>
  );
}

interface ChartProps {
  readonly chart: Chart;
  readonly hours: readonly HistoryHour[];
  /** How many hours are drawn, with or without figures. */
  readonly span: number;
}

function ChartPanel({ chart, hours, span: drawn }: ChartProps) {
  const known = hours.flatMap((hour) => chart.value(hour) ?? []);
  const summary = summaryOf(chart, known);
  return (
    <Panel title={chart.title} aside={<span class="quiet">{summary}</span>}>
      <Plot chart={chart} hours={hours} span={drawn} label={`${chart.title}: ${summary}`} />
      <details>
        <summary>As a table</summary>
        <table>
          <caption class="unseen">{chart.title}</caption>
          <tbody>
            {hours
              .slice(-48)
              .reverse()
              .map((hour) => (
                <tr key={hour.at}>
                  <th scope="row">{utcTime(hour.at).slice(0, 16)}</th>
                  <td>{textOf(chart, hour)}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </details>
    </Panel>
  );
}

function summaryOf({ text }: Chart, known: readonly number[]): string {
  const last = known.at(-1);
  if (last === undefined) return 'nothing of it in this time';
  if (known.length === 1) return `${text(last)}, in the only hour that is known`;
  const [least, most] = [Math.min(...known), Math.max(...known)];
  if (least === most) return `always ${text(last)}`;
  return `between ${text(least)} and ${text(most)}, last ${text(last)}`;
}

function textOf(chart: Chart, hour: HistoryHour): string {
  const value = chart.value(hour);
  return value === undefined ? 'none' : chart.text(value);
}

const height = 180;

function Plot({ chart, hours, span: drawn, label }: ChartProps & { readonly label: string }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current!;
    const draw = () => {
      const plot = new uPlot(
        optionsOf({ chart, hours, span: drawn }, element.clientWidth),
        dataOf(chart, hours),
        element,
      );
      return () => plot.destroy();
    };
    let clear = draw();
    const again = () => {
      clear();
      clear = draw();
    };
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', again);
    addEventListener('resize', again);
    return () => {
      scheme.removeEventListener('change', again);
      removeEventListener('resize', again);
      clear();
    };
  }, [chart, hours, drawn]);
  return <div class="plot" role="img" aria-label={label} ref={place} />;
}

/** Hours in which no worker worked are gaps in what stands, and nothing in what is counted. */
function dataOf(chart: Chart, hours: readonly HistoryHour[]): uPlot.AlignedData {
  return [hours.map(({ at }) => at / 1000), hours.map((hour) => chart.value(hour) ?? null)];
}

function optionsOf({ chart, hours, span: drawn }: ChartProps, width: number): uPlot.Options {
  const end = hours.at(-1)!.at + hourMs;
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => resolved(style.getPropertyValue(name));
  const ink = colour('--quiet');
  const axis = { stroke: ink, grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line') } };
  const [stroke, fill] = [colour('--link'), `color-mix(in srgb, ${colour('--link')} 20%, transparent)`];
  const bars = uPlot.paths.bars!({ size: [0.8, 24] });
  return {
    width,
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
    scales: {
      x: { range: [end / 1000 - drawn * 3600, end / 1000] },
      y: { range: (_, __, max) => [0, max * 1.1 || 1] },
    },
    axes: [
      { ...axis, values: (_, values) => values.map(drawn > 48 ? dayText : timeText) },
      { ...axis, size: 86, incrs: stepsOf(chart), values: (_, values) => values.map((value) => chart.text(value)) },
    ],
    series: [
      {},
      {
        stroke,
        fill,
        width: 1.5,
        points: { show: !chart.isBars && hours.length <= 48 },
        ...(chart.isBars && { paths: bars }),
      },
    ],
  };
}

const wholeSteps = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
const binarySteps = Array.from({ length: 55 }, (_, power) => 2 ** power);
const timeSteps = [
  1,
  5,
  15,
  30,
  60,
  300,
  900,
  1_800,
  3_600,
  4 * 3_600,
  12 * 3_600,
  ...wholeSteps.map((n) => n * 86_400),
];

/** What an axis is marked by: nothing between one thing and two, and round figures as people write them. */
function stepsOf({ text }: Chart): number[] {
  if (text === bytes) return binarySteps;
  return text === span ? timeSteps : wholeSteps;
}

const dayText = (seconds: number) => utcTime(seconds * 1000).slice(5, 10);
const timeText = (seconds: number) => utcTime(seconds * 1000).slice(11, 16);

/** `light-dark(…)` as the canvas takes it: a colour. */
function resolved(value: string): string {
  const probe = document.createElement('span');
  probe.style.color = value;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
