import type { Command } from 'commander';
import { UsageError } from '../failure.ts';
import type { VerbGroup } from '../session.ts';

/** `completion`: verbs and flags for a shell. */
export const completionVerbs: VerbGroup = (program, verb) => {
  verb(
    program.command('completion <shell>').description('print a completion script for bash, zsh or fish'),
    async (_session, [shell]) => {
      const script = scripts[shell!];
      if (script === undefined)
        throw new UsageError(`There is no completion for "${shell}"; there are bash, fish, zsh`);
      const text = script(wordsOf(program));
      return { text, document: { shell, script: text } };
    },
    'own',
  );
};

/** By verb: its flags. */
type Words = ReadonlyMap<string, readonly string[]>;

function wordsOf(program: Command): Words {
  const flagsOf = ({ options }: Command) => options.flatMap(({ long }) => (long == null ? [] : [long]));
  return new Map(program.commands.map((command) => [command.name(), flagsOf(command)]));
}

/** A list that is cut at line ends alone: names of files have spaces. */
const list = (words: Iterable<string>) => `$'${[...words].join('\\n')}'`;

const bash = (words: Words) => `_holdfast() {
  local IFS=$'\\n' current="\${COMP_WORDS[COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${list(words.keys())} -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${[...words].map(([verb, flags]) => `    ${verb}) COMPREPLY=($(compgen -f -W ${list(flags)} -- "$current")) ;;`).join('\n')}
  esac
}
complete -o filenames -F _holdfast holdfast`;

const scripts: Readonly<Record<string, (words: Words) => string>> = {
  bash,
  zsh: (words) => `autoload -U +X bashcompinit && bashcompinit\n${bash(words)}`,
  fish: (words) =>
    [...words]
      .flatMap(([verb, flags]) => [
        `complete -c holdfast -n __fish_use_subcommand -a ${verb}`,
        ...flags.map((flag) => `complete -c holdfast -n "__fish_seen_subcommand_from ${verb}" -l ${flag.slice(2)}`),
      ])
      .join('\n'),
};
