import type { Command, Option } from 'commander';

/** What can stand at one place of the command line; `/apps/set` is the place behind `gantry apps set`. */
type Place = {
  path: string;
  commands: Word[];
  options: Word[];
  /** What follows an option that takes a value: one of these words, an app, or anything. */
  values: { flags: string[]; of: Values }[];
  /** What the first argument is. */
  argument: Values;
};
type Word = { name: string; about: string };
type Values = readonly string[] | 'app' | 'anything';

/** A script for the shell, made from the commands there are; the names of apps are asked for when they are needed. */
export function completion(program: Command, shell: string): void {
  const places = placesOf(program, '');
  process.stdout.write(
    shell === 'bash' ? forBash(places) : shell === 'zsh' ? forZsh(places) : forFish(places),
  );
}

function placesOf(command: Command, path: string): Place[] {
  const help = command.createHelp();
  const visible = help.visibleCommands(command).filter((child) => child.name() !== 'help');
  // `gantry apps --json` is `gantry apps list --json`.
  const fallback = visible.find((child) => isDefault(command, child));
  const own = help.visibleOptions(command);
  const options = [...own, ...(fallback?.options.filter((option) => !option.hidden) ?? [])];
  const [argument] = command.registeredArguments;
  const place: Place = {
    path,
    commands: visible.map((child) => ({ name: child.name(), about: child.description() })),
    options: options.map((option) => ({
      name: option.long ?? option.short ?? '',
      about: option.description,
    })),
    values: options
      .filter((option) => option.required || option.optional)
      .map((option) => ({ flags: flagsOf(option), of: valuesOf(option.attributeName(), option.argChoices) })),
    argument: argument ? valuesOf(argument.name(), argument.argChoices) : 'anything',
  };
  return [place, ...visible.flatMap((child) => placesOf(child, `${path}/${child.name()}`))];
}

/** commander does not tell it otherwise. */
function isDefault(parent: Command, child: Command): boolean {
  return (parent as { _defaultCommandName?: string | null })._defaultCommandName === child.name();
}

function flagsOf({ short, long }: Option): string[] {
  return [short, long].filter((flag) => flag !== undefined);
}

function valuesOf(name: string, choices: readonly string[] | undefined): Values {
  return choices ?? (name === 'app' ? 'app' : 'anything');
}

/** `prefix word` for each step from one place to the next. */
function steps(places: readonly Place[]): string[] {
  return places.flatMap(({ path, commands }) => commands.map(({ name }) => quote(`${path} ${name}`)));
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

const names = (words: readonly Word[]): string => words.map(({ name }) => name).join(' ');
const unique = (words: readonly Word[]): Word[] =>
  words.filter((word, index) => words.findIndex(({ name }) => name === word.name) === index);

function forBash(places: readonly Place[]): string {
  const apps = '$("${COMP_WORDS[0]}" apps --names 2>/dev/null)';
  const wordsOf = (of: Values): string =>
    of === 'app' ? `"${apps}"` : of === 'anything' ? "''" : quote(of.join(' '));
  const values = places.flatMap(({ path, values: options }) =>
    options.map(({ flags, of }) => {
      const found = of === 'anything' ? '' : `COMPREPLY=($(compgen -W ${wordsOf(of)} -- "$cur")); `;
      return `    ${flags.map((flag) => quote(`${path} ${flag}`)).join('|')}) ${found}return ;;`;
    }),
  );
  const here = places.map(({ path, commands, options, argument }) => {
    const words = commands.length > 0 ? quote(names(commands)) : wordsOf(argument);
    return `    ${quote(path)}) words=${words}; options=${quote(names(unique(options)))} ;;`;
  });
  return `# bash: source <(gantry completion bash)
_gantry() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" place='' words='' options='' word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$place $word" in
    ${steps(places).join('|')}) place="$place/$word" ;;
    esac
  done
  case "$place $prev" in
${values.join('\n')}
  esac
  case "$place" in
${here.join('\n')}
  esac
  [[ $cur == -* ]] && words=$options
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _gantry gantry
`;
}

function forZsh(places: readonly Place[]): string {
  const apps = 'compadd -- ${(f)"$(${words[1]} apps --names 2>/dev/null)"}';
  const add = (of: Values): string =>
    of === 'app' ? apps : of === 'anything' ? '_files' : `compadd -- ${of.map(quote).join(' ')}`;
  const described = (words: readonly Word[]): string =>
    unique(words)
      .map(({ name, about }) => quote(`${name}:${about}`))
      .join(' ');
  const values = places.flatMap(({ path, values: options }) =>
    options.map(
      ({ flags, of }) =>
        `    ${flags.map((flag) => quote(`${path} ${flag}`)).join('|')}) ${add(of)}; return ;;`,
    ),
  );
  const here = places.map(({ path, commands, options, argument }) => {
    const rest = commands.length > 0 ? `_describe command commands` : add(argument);
    return `    ${quote(path)})
      commands=(${described(commands)}); options=(${described(options)})
      if [[ $PREFIX == -* ]]; then _describe option options; else ${rest}; fi ;;`;
  });
  return `#compdef gantry
# zsh: source <(gantry completion zsh), after compinit
_gantry() {
  local place='' word
  local -a commands options
  for word in \${words[2,CURRENT-1]}; do
    case "$place $word" in
    ${steps(places).join('|')}) place="$place/$word" ;;
    esac
  done
  case "$place \${words[CURRENT-1]}" in
${values.join('\n')}
  esac
  case "$place" in
${here.join('\n')}
  esac
}
if [[ \${funcstack[1]} == _gantry ]]; then _gantry "$@"; else compdef _gantry gantry; fi
`;
}

function forFish(places: readonly Place[]): string {
  const fish = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const valueOf = (of: Values): string =>
    of === 'app' ? " -x -a '(__gantry_apps)'" : of === 'anything' ? ' -r' : ` -x -a ${fish(of.join(' '))}`;
  const lines = places.flatMap(({ path, commands, options, values, argument }) => {
    const at = `complete -c gantry -n ${fish(`test (__gantry_place) = '${path}/'`)}`;
    const takes = (name: string): string => {
      const value = values.find(({ flags }) => flags.includes(name));
      return value ? valueOf(value.of) : '';
    };
    return [
      ...commands.map(({ name, about }) => `${at} -f -a ${name} -d ${fish(about)}`),
      ...(commands.length === 0 && argument !== 'anything'
        ? [`${at}${valueOf(argument).replace('-x', '-f')}`]
        : []),
      ...unique(options).map(
        ({ name, about }) => `${at} -l ${name.replace(/^--/, '')}${takes(name)} -d ${fish(about)}`,
      ),
    ];
  });
  return `# fish: gantry completion fish | source
function __gantry_place
  set -l place ''
  for word in (commandline -opc)[2..-1]
    switch "$place $word"
      case ${steps(places).join(' ')}
        set place "$place/$word"
    end
  end
  echo "$place/"
end
function __gantry_apps
  set -l program (commandline -opc)[1]
  $program apps --names 2>/dev/null
end
${lines.join('\n')}
`;
}
