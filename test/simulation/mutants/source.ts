import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type AnyNode, type Node, parse } from 'acorn';

/** A file below `lib/` as it runs: types are blanks. */
export interface SourceFile {
  /** Without its extension: `import-file`. */
  readonly name: string;
  readonly path: string;
  readonly code: string;
}

/** A piece of a file that has a name: a function, a method, or what a constant at the top holds. */
export interface Scope {
  readonly name: string;
  readonly file: SourceFile;
  readonly node: AnyNode;
}

/** Finds scopes by their name, or by `file-name#name`. Throws when there is none. */
export type FindScopes = (name: string) => readonly Scope[];

const libraryFolder = fileURLToPath(new URL('../../../lib/', import.meta.url));

/** Below `lib/`: what no history runs. */
const unplayed = /^(cli|console|local|process|store\/dynamodb|fleet\/s3)\//;

/** Every file of the code that histories run. */
export function libraryFiles(): SourceFile[] {
  return readdirSync(libraryFolder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !unplayed.test(path))
    .map((path) => sourceFile(join(libraryFolder, path), readFileSync(join(libraryFolder, path), 'utf8')));
}

export function sourceFile(path: string, text: string): SourceFile {
  return { name: basename(path, '.ts'), path, code: stripTypeScriptTypes(text, { mode: 'strip' }) };
}

export function createFindScopes(files: readonly SourceFile[]): FindScopes {
  const byName = new Map<string, Scope[]>();
  for (const file of files)
    for (const scope of scopesOf(file)) byName.set(scope.name, [...(byName.get(scope.name) ?? []), scope]);
  return (wanted) => {
    const [name, file] = wanted.split('#').reverse() as [string, string?];
    const found = (byName.get(name) ?? []).filter((scope) => file === undefined || scope.file.name === file);
    if (found.length === 0) throw new Error(`There is no function "${wanted}" in lib/`);
    return found;
  };
}

function scopesOf(file: SourceFile): Scope[] {
  const program = parse(file.code, { ecmaVersion: 'latest', sourceType: 'module' }) as AnyNode;
  const found: Scope[] = [];
  const add = (name: string | undefined, node: AnyNode) => {
    if (name !== undefined) found.push({ name, file, node });
  };
  walk(program, (node, parents) => {
    if (node.type === 'FunctionDeclaration') add(node.id?.name, node);
    const isNamed = node.type === 'VariableDeclarator' && node.id.type === 'Identifier' && node.init;
    const isTopLevel = parents.every(({ type }) => /^(Program|ExportNamedDeclaration|VariableDeclaration)$/.test(type));
    if (isNamed && (isTopLevel || isFunction(node.init as AnyNode)))
      add((node.id as { name: string }).name, node.init as AnyNode);
    if (
      (node.type === 'Property' || node.type === 'MethodDefinition') &&
      node.key.type === 'Identifier' &&
      isFunction(node.value as AnyNode)
    )
      add(node.key.name, node.value as AnyNode);
  });
  return found;
}

function isFunction({ type }: AnyNode): boolean {
  return type === 'FunctionExpression' || type === 'ArrowFunctionExpression';
}

/** Calls `visit` with a node, and all that is in it, outermost first, each with what it stands in. */
export function walk(node: AnyNode, visit: (node: AnyNode, parents: readonly AnyNode[]) => void): void {
  const parents: AnyNode[] = [];
  const enter = (one: AnyNode) => {
    visit(one, parents);
    parents.push(one);
    for (const child of childrenOf(one)) enter(child);
    parents.pop();
  };
  enter(node);
}

function childrenOf(node: AnyNode): AnyNode[] {
  return Object.values(node).flat().filter(isNode);
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';
}
