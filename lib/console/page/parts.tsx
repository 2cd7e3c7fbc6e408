import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { printable } from '../../base/printable.ts';
import type { ActionAnswer } from '../protocol.ts';
import { ask, overview } from './api.ts';
import { ago, percent, utcTime } from './figures.ts';

export interface Column<Row> {
  readonly head: string;
  readonly isNumber?: boolean;
  /** Of keys and the like: broken anywhere, so that the others have their room. */
  readonly isLong?: boolean;
  cell(row: Row): ComponentChildren;
}

interface TableProps<Row> {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly none: string;
  keyOf(row: Row): string;
}

/** On a narrow screen each row stands as a card; the roles say all the same what it is. */
export function Table<Row>({ caption, columns, rows, none, keyOf }: TableProps<Row>) {
  if (rows.length === 0) return <p class="empty">{none}</p>;
  return (
    // biome-ignore-start lint/a11y/noRedundantRoles: a table that is shown as cards loses them
    <table role="table">
      <caption class="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map(({ head, isNumber }) => (
            <th role="columnheader" scope="col" class={isNumber ? 'number' : ''} key={head}>
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr role="row" key={keyOf(row)}>
            {columns.map(({ head, isNumber, isLong, cell }) => (
              <td role="cell" data-head={head} class={isNumber ? 'number' : isLong ? 'long' : ''} key={head}>
                <div>{cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
    // biome-ignore-end lint/a11y/noRedundantRoles: a table that is shown as cards loses them
  );
}

export type Tone = 'good' | 'bad' | 'warn' | 'neutral';

export function Badge({ tone, children }: { readonly tone: Tone; readonly children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A name that somebody chose: what would be unseen, or turn the text around, is written out. */
export function Name({ children }: { readonly children: string }) {
  return <>{printable(children, 'one-line')}</>;
}

export function When({ at }: { readonly at: number | undefined }) {
  if (at === undefined) return <span class="quiet">never</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={`${utcTime(at)} UTC`}>
      {ago(at)}
    </time>
  );
}

interface BarProps {
  readonly label: string;
  /** In [0, 1], one after the other. */
  readonly parts: readonly { readonly ratio: number; readonly tone: Tone }[];
}

export function Bar({ label, parts }: BarProps) {
  const all = parts.reduce((sum, { ratio }) => sum + ratio, 0);
  return (
    <div class="bar" role="img" aria-label={`${label}: ${percent(all)}`}>
      {parts.map(({ ratio, tone }) => (
        <span class={tone} style={{ width: `${Math.min(1, ratio) * 100}%` }} key={tone} />
      ))}
    </div>
  );
}

interface PanelProps {
  readonly title: string;
  readonly children: ComponentChildren;
  readonly aside?: ComponentChildren;
  /** Of a panel that a figure above it leads to. */
  readonly id?: string;
}

export function Panel({ title, children, aside, id }: PanelProps) {
  return (
    <section class="panel" aria-label={title} id={id} tabIndex={id === undefined ? undefined : -1}>
      <div class="title">
        <h2>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

/** What was told last, to the eye and to a screen reader. */
export const notice = signal<{ readonly tone: Tone; readonly sentence: string } | null>(null);

export function Notice() {
  const last = notice.value;
  return (
    <div class="notice" role="status" aria-live="polite">
      {last !== null && (
        <p class={last.tone}>
          <Name>{last.sentence}</Name>{' '}
          <button type="button" class="plain" onClick={() => (notice.value = null)} aria-label="Close this message">
            ×
          </button>
        </p>
      )}
    </div>
  );
}

function toneOf(answer: ActionAnswer): Tone {
  if (answer.outcome === 'refused') return 'bad';
  return answer.outcome === 'done' && answer.verdicts?.some(({ isGood }) => !isGood) ? 'bad' : 'good';
}

/** Runs an action and says what became of it. */
export async function doing(run: () => Promise<ActionAnswer>): Promise<ActionAnswer | null> {
  try {
    const answer = await run();
    notice.value = { tone: toneOf(answer), sentence: answer.sentence };
    return answer;
  } catch (error) {
    notice.value = { tone: 'bad', sentence: (error as Error).message };
    return null;
  }
}

/** Asks for something more, and says so where it could not be had. */
export async function asking(run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    notice.value = { tone: 'bad', sentence: (error as Error).message };
  }
}

export interface Question {
  readonly title: string;
  readonly lines: readonly string[];
  readonly verb: string;
  readonly isDangerous?: boolean;
  /** A choice that is off unless it is ticked. */
  readonly option?: string;
  run(isOption: boolean): Promise<unknown>;
}

/** What is asked before it is done; null: nothing. */
export const question = signal<Question | null>(null);

export function Confirm() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isOption, setOption] = useState(false);
  const asked = question.value;
  useEffect(() => {
    setOption(false);
    if (asked === null) dialog.current?.close();
    else dialog.current?.showModal();
  }, [asked]);
  const close = () => {
    question.value = null;
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="question">
      {asked !== null && (
        <form method="dialog">
          <h2 id="question">
            <Name>{asked.title}</Name>
          </h2>
          {asked.lines.map((line) => (
            <p key={line}>
              <Name>{line}</Name>
            </p>
          ))}
          {asked.option !== undefined && (
            <label class="check">
              <input type="checkbox" checked={isOption} onChange={(event) => setOption(event.currentTarget.checked)} />
              {asked.option}
            </label>
          )}
          <div class="buttons">
            <button type="submit">Cancel</button>
            <button
              type="button"
              class={asked.isDangerous ? 'danger' : 'primary'}
              onClick={() => {
                close();
                void asked.run(isOption);
              }}
            >
              {asked.verb}
            </button>
          </div>
        </form>
      )}
    </dialog>
  );
}

interface ActionProps {
  readonly children: ComponentChildren;
  readonly label?: string;
  readonly isDangerous?: boolean;
  run(): unknown;
}

/** A button for what changes something: a console that only shows has none. */
export function Action(props: ActionProps) {
  return overview.value?.isReadOnly === false ? <Busy {...props} /> : null;
}

/** A button that cannot be pressed again before what it does has ended. */
export function Busy({ children, label, isDangerous, run }: ActionProps) {
  const [isBusy, setBusy] = useState(false);
  const click = async () => {
    setBusy(true);
    try {
      await run();
    } finally {
      setBusy(false);
    }
  };
  return (
    <button type="button" class={isDangerous ? 'danger' : ''} aria-label={label} disabled={isBusy} onClick={click}>
      {children}
    </button>
  );
}

export interface Loaded<T> {
  readonly data: T | undefined;
  readonly problem: string | undefined;
  reload(): void;
}

/** Asks the console for a document, anew when its address changes. */
export function useLoaded<T>(path: string): Loaded<T> {
  const [state, setState] = useState<{ readonly path: string; readonly data?: T; readonly problem?: string }>({ path });
  const [times, setTimes] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    ask<T>(path).then(
      (data) => isCurrent && setState({ path, data }),
      (error: Error) => isCurrent && setState({ path, problem: error.message }),
    );
    return () => {
      isCurrent = false;
    };
  }, [path, times]);
  const isThis = state.path === path;
  return {
    data: isThis ? state.data : undefined,
    problem: isThis ? state.problem : undefined,
    reload: () => setTimes((before) => before + 1),
  };
}

/** While it is awaited, and where it could not be had. */
export function Awaited<T>({ of, children }: { readonly of: Loaded<T>; children(data: T): ComponentChildren }) {
  if (of.data !== undefined) return <>{children(of.data)}</>;
  return of.problem === undefined ? <p class="empty">Reading …</p> : <p class="problem">{of.problem}</p>;
}

/** A row of a list of facts: its name, and what it is. */
export function Fact({ name, children }: { readonly name: string; readonly children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
