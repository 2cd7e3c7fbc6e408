import type { AnyNode, Expression, Property } from 'acorn';
import { type FindScopes, type Scope, type SourceFile, walk } from './source.ts';

/** A name or a literal that occurs in the code meant, `'left-behind'` or `isDamaged`: how it is written besides does not matter. */
export type Word = string | number;

/** A place in a file, and what is to stand there. */
export interface Change {
  readonly file: SourceFile;
  readonly start: number;
  readonly end: number;
  readonly code: string;
}

/** One change of the code under test. Throws when the place it means is not there exactly once. */
export type Edit = (find: FindScopes) => Change;

/** A node of the kind wanted, with what it stands in directly, in a function of the name wanted. */
interface Place {
  readonly scope: Scope;
  readonly node: AnyNode;
  readonly parent: AnyNode;
}

/** The `if` of a function that mentions these words is left out; what stands in its `else` remains. */
export function withoutGuard(name: string, ...words: Word[]): Edit {
  return inScope(name, words, isOfType('IfStatement'), (node, code) => {
    const { alternate } = node as Extract<AnyNode, { type: 'IfStatement' }>;
    return alternate ? code(alternate) : ';';
  });
}

/** The statement that mentions these words is left out. */
export function without(name: string, ...words: Word[]): Edit {
  return inScope(
    name,
    words,
    ({ node }) => /Statement$|^VariableDeclaration$/.test(node.type),
    () => ';',
  );
}

/** The condition that mentions these words always holds. */
export function always(name: string, ...words: Word[]): Edit {
  return inScope(name, words, isCondition, () => '(true)');
}

/** The condition that mentions these words never holds. */
export function never(name: string, ...words: Word[]): Edit {
  return inScope(name, words, isCondition, () => '(false)');
}

/** Of an `and`, an `or` or a `??`, the side that mentions these words is left out. */
export function withoutOperand(name: string, ...words: Word[]): Edit {
  return (find) => {
    const { scope, node, parent } = onlyPlace(
      find(name),
      words,
      ({ parent: { type } }) => type === 'LogicalExpression',
    );
    const { left, right } = parent as Extract<AnyNode, { type: 'LogicalExpression' }>;
    return changeOf(scope, parent, `(${textOf(scope, node === left ? right : left)})`);
  };
}

/** The field of an object literal, or the spread into one, that mentions these words is left out. */
export function withoutField(name: string, ...words: Word[]): Edit {
  return inScope(
    name,
    words,
    ({ node, parent }) => parent.type === 'ObjectExpression' && node.type !== 'ObjectExpression',
    () => '...{}',
  );
}

/** A field of an object literal has another value. */
export function field(name: string, fieldName: string, code: string): Edit {
  const isField = ({ node }: Place) => node.type === 'Property' && (node.key as { name?: string }).name === fieldName;
  return inScope(name, [fieldName], isField, (node) => {
    const { kind } = node as Property;
    if (kind !== 'init') throw new Error(`"${fieldName}" of "${name}" is an accessor`);
    return `${fieldName}: ${code}`;
  });
}

/** A variable of a function begins with another value; `$` in it stands for the old one. */
export function variable(name: string, variableName: string, code: string): Edit {
  const isIt = ({ node }: Place) =>
    node.type === 'VariableDeclarator' && (node.id as { name?: string }).name === variableName;
  return inScope(name, [variableName], isIt, (node, text) => {
    const { init } = node as Extract<AnyNode, { type: 'VariableDeclarator' }>;
    return `${variableName} = (${code.replaceAll('$', () => text(init!))})`;
  });
}

/** The smallest expression that mentions these words is replaced; `$` in the new one stands for the old one. */
export function instead(name: string, words: readonly Word[], code: string): Edit {
  return inScope(name, words, isExpression, (node, text) => `(${code.replaceAll('$', () => text(node))})`);
}

/** Something happens first. */
export function first(name: string, code: string): Edit {
  return (find) => {
    const scopes = find(name).filter(({ node }) => bodyOf(node)?.type === 'BlockStatement');
    const [scope, another] = scopes;
    if (scope === undefined || another !== undefined)
      throw new Error(`There are ${scopes.length} functions "${name}" with a body of statements: ${namesOf(scopes)}`);
    const body = bodyOf(scope.node)!;
    return { file: scope.file, start: body.start + 1, end: body.start + 1, code };
  };
}

/** Something happens right before the statement that mentions these words. */
export function before(name: string, words: readonly Word[], code: string): Edit {
  return inScope(name, words, isStatement, (node, text) => `${code}${text(node)}`);
}

/** Something happens right after it. */
export function after(name: string, words: readonly Word[], code: string): Edit {
  return inScope(name, words, isStatement, (node, text) => `${text(node)}${code}`);
}

const isStatement = ({ node, parent }: Place) =>
  /Statement$|^VariableDeclaration$/.test(node.type) && /^(BlockStatement|Program|SwitchCase)$/.test(parent.type);

const isOfType =
  (type: AnyNode['type']) =>
  ({ node }: Place) =>
    node.type === type;

function isCondition({ node, parent }: Place): boolean {
  return 'test' in parent && (parent as { readonly test: unknown }).test === node;
}

function isExpression({ node, parent }: Place): boolean {
  const isName = parent.type === 'Property' && parent.key === (node as Expression) && !parent.shorthand;
  return /Expression$|^(Identifier|Literal|TemplateLiteral)$/.test(node.type) && !isName;
}

function inScope(
  name: string,
  words: readonly Word[],
  isWanted: (place: Place) => boolean,
  replace: (node: AnyNode, text: (node: AnyNode) => string) => string,
): Edit {
  return (find) => {
    const { scope, node } = onlyPlace(find(name), words, isWanted);
    return changeOf(
      scope,
      node,
      replace(node, (one) => textOf(scope, one)),
    );
  };
}

/** Of the places wanted that mention the words those that have no such place in them: exactly one. */
function onlyPlace(scopes: readonly Scope[], words: readonly Word[], isWanted: (place: Place) => boolean): Place {
  const places = scopes.flatMap((scope) => placesIn(scope, words, isWanted));
  // A function may stand in another of its name.
  const [place, another] = [...new Map(places.map((one) => [one.node, one])).values()];
  if (place !== undefined && another === undefined) return place;
  const found = places.map(({ scope, node }) => textOf(scope, node).replaceAll(/\s+/g, ' ').slice(0, 80));
  throw new Error(
    `${places.length} places in ${namesOf(scopes)} mention ${words.join(', ')}: ${found.join(' | ') || 'none'}`,
  );
}

function placesIn(scope: Scope, words: readonly Word[], isWanted: (place: Place) => boolean): Place[] {
  const places: Place[] = [];
  walk(scope.node, (node, parents) => {
    const parent = parents.at(-1);
    if (parent === undefined || !mentions(node, words) || !isWanted({ scope, node, parent })) return;
    const outer = places.findIndex((place) => parents.includes(place.node));
    if (outer >= 0) places.splice(outer, 1);
    places.push({ scope, node, parent });
  });
  return places;
}

function namesOf(scopes: readonly Scope[]): string {
  return scopes.map(({ file, name }) => `${file.name}#${name}`).join(', ');
}

function bodyOf(node: AnyNode): AnyNode | undefined {
  return (node as { readonly body?: AnyNode }).body;
}

function mentions(node: AnyNode, words: readonly Word[]): boolean {
  const found = new Set<unknown>();
  walk(node, (one) => {
    if (one.type === 'Identifier' || one.type === 'PrivateIdentifier') found.add(one.name);
    else if (one.type === 'Literal') found.add(one.value);
    else if (one.type === 'TemplateElement') found.add(one.value.cooked);
  });
  return words.every((word) => found.has(word));
}

function textOf({ file }: Scope, { start, end }: AnyNode): string {
  return file.code.slice(start, end);
}

function changeOf({ file }: Scope, { start, end }: AnyNode, code: string): Change {
  return { file, start, end, code };
}
