# TAB for kmi in PowerShell. Written by `make docs` from the parser; do not edit.
# Labels come from a file that kmi keeps: no process is started for them.

Register-ArgumentCompleter -Native -CommandName kmi -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # What there is below a command: options and actions as (name, kind, help); kinds of arguments.
    $table = @{
        '' = @{
            options = @(,@('--version', '', 'the version, and where it runs from'))
            children = @(@('run', '', 'run a program on a key that works'), @('kimi', '', 'the same as `kmi run -- kimi`'), @('use', '', 'swap a key in now'), @('rotate', '', 'swap the best key in now'), @('current', '', 'the active key'), @('status', '', 'the whole situation'), @('health', '', 'every key: status, quotas, time to reset, what to do'), @('why', '', 'why each key would or would not be picked now'), @('bind', '', 'bind this directory to keys: write .kmi.toml'), @('allow', '', 'let a project''s .kmi.toml count'), @('deny', '', 'let a project''s .kmi.toml not count'), @('keys', '', 'list, add, remove, rename, enable, disable, check keys'), @('usage', '', 'tokens by key, day, project, model or session: who paid'), @('trace', '', 'which key served which request of the proxy, and how evenly'), @('proxy', '', 'the local proxy: start, stop, restart, status'), @('proxy-stop', '', 'the same as `kmi proxy stop`'), @('proxy-restart', '', 'the same as `kmi proxy restart`'), @('proxy-logs', '', 'what the proxy says, as it comes'), @('service', '', 'the proxy as a service of the user''s'), @('plugin', '', 'kmi''s hooks and status line in the clients'), @('hook', '', 'what clients call when a session begins, ends or fails'), @('init', '', 'the line for a shell''s start file: prompt, TAB, and `kimi`'), @('completion', '', 'the completion script of a shell'), @('prompt', '', 'what prompts show of the active key'), @('config', '', 'settings: show, validate, path, migrate'), @('doctor', '', 'check everything, each finding with its cure'), @('undo', '', 'take the last swap back'), @('backups', '', 'the backups of client configs'), @('audit', '', 'who changed what, when, and what was refused'), @('clean', '', 'remove old records, logs and backups of kmi''s own'), @('simulate', '', 'what each strategy would make of keys and a workload'), @('demo', '', 'the main job in a throw-away home, on a fake API'))
            words = @()
        }
        'run' = @{
            options = @(@('-k', 'LABEL', 'run on this key, whatever its state'), @('--key', 'LABEL', 'run on this key, whatever its state'), @('--strategy', 'sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread', 'how to choose, for this run'), @('--client', 'kimi-cli|kimi-code', 'whose config is meant'), @('--pin', '', 'keep the key for the whole run, whatever happens'), @('--adopt', '', 'beside an OAuth login: add a provider of kmi''s own and make it the default'), @('--proxy', '', 'through the local proxy, which is started if need be'), @('--proxy-stay', '', 'the same; the proxy stays when its runs end'), @('--retry', '', 'one-shot runs: once more on another key, if the first fails before it answers'), @('--dry-run', '', 'show what would happen, and stop'))
            children = @()
            words = @()
        }
        'kimi' = @{
            options = @()
            children = @()
            words = @()
        }
        'use' = @{
            options = @(@('--client', 'kimi-cli|kimi-code', 'whose config is meant'), @('--adopt', '', 'add a provider beside an OAuth login'), @('--dry-run', '', 'show the change, write nothing'))
            children = @()
            words = @('LABEL')
        }
        'rotate' = @{
            options = @(@('--client', 'kimi-cli|kimi-code', 'whose config is meant'), @('--adopt', '', 'add a provider beside an OAuth login'), @('--dry-run', '', 'show the change, write nothing'))
            children = @()
            words = @('auto|off')
        }
        'current' = @{
            options = @(,@('--client', 'kimi-cli|kimi-code', 'whose config is meant'))
            children = @()
            words = @()
        }
        'status' = @{
            options = @(,@('--client', 'kimi-cli|kimi-code', 'whose config is meant'))
            children = @()
            words = @()
        }
        'health' = @{
            options = @(@('--refresh', '', 'ask upstream about every key, however fresh it is'), @('--no-refresh', '', 'ask upstream about nothing'), @('--watch', 'FREE', 'draw it again and again, until Ctrl-C'))
            children = @()
            words = @()
        }
        'why' = @{
            options = @(@('--strategy', 'sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread', 'as if this were the strategy'), @('--client', 'kimi-cli|kimi-code', 'whose active key counts'), @('--rotate', '', 'explain `kmi rotate` instead'))
            children = @()
            words = @()
        }
        'bind' = @{
            options = @(@('--strict', '', 'never another key, whatever happens'), @('--force', '', 'replace a .kmi.toml that is there'))
            children = @()
            words = @('LABEL+')
        }
        'allow' = @{
            options = @()
            children = @()
            words = @('FILE')
        }
        'deny' = @{
            options = @()
            children = @()
            words = @('FILE')
        }
        'keys' = @{
            options = @()
            children = @(@('list', '', 'every key, its status and its file (the default)'), @('add', '', 'store a key: asked for without echo, or from stdin'), @('remove', '', 'remove a key''s file; a copy is kept'), @('enable', '', 'use a key again'), @('disable', '', 'leave a key out'), @('rename', '', 'give a key another label'), @('reset', '', 'end cooldown and block'), @('import', '', 'take the keys that the clients'' configs hold'), @('check', '', 'ask upstream whether keys work'))
            words = @()
        }
        'keys list' = @{
            options = @()
            children = @()
            words = @()
        }
        'keys add' = @{
            options = @(@('--base-url', 'FREE', 'where this key is valid'), @('--priority', 'FREE', 'a higher one is preferred on a tie'), @('--email', 'FREE', 'whose account it is'), @('--command', 'FREE', 'a program that prints the key'))
            children = @()
            words = @('FREE')
        }
        'keys remove' = @{
            options = @(@('-y', '', 'do not ask'), @('--yes', '', 'do not ask'))
            children = @()
            words = @('LABEL')
        }
        'keys enable' = @{
            options = @()
            children = @()
            words = @('LABEL')
        }
        'keys disable' = @{
            options = @()
            children = @()
            words = @('LABEL')
        }
        'keys rename' = @{
            options = @()
            children = @()
            words = @('LABEL', 'FREE')
        }
        'keys reset' = @{
            options = @()
            children = @()
            words = @('LABEL+')
        }
        'keys import' = @{
            options = @(,@('--label', 'FREE', 'its label, when there is one new key'))
            children = @()
            words = @()
        }
        'keys check' = @{
            options = @(,@('--chat', '', 'also send one tiny chat request with each key'))
            children = @()
            words = @('LABEL+')
        }
        'usage' = @{
            options = @(@('--by', 'key|day|project|model|session', 'what makes a row (key)'), @('--since', 'FREE', 'only what is younger: 12h, 7d, 2026-01-31, all (30d)'), @('--key', 'LABEL', 'only what this key paid'), @('--html', 'FILE', 'write one page with charts'))
            children = @()
            words = @()
        }
        'trace' = @{
            options = @(@('--follow', '', 'show them as they come'), @('--lines', 'FREE', 'how many to list (20)'), @('--since', 'FREE', 'only what is younger: 30s, 10m, 2h, 1d'), @('--key', 'LABEL', 'list only what this key served or tried'))
            children = @()
            words = @()
        }
        'proxy' = @{
            options = @(,@('--foreground', '', 'stay here, and log to stderr'))
            children = @(@('start', '', 'start it, and return when it answers (the default)'), @('stop', '', 'let it finish what it serves, and end it'), @('restart', '', 'stop it, and start it with the settings of now'), @('status', '', 'whether it runs, where, and for which runs'))
            words = @()
        }
        'proxy start' = @{
            options = @(@('--foreground', '', 'stay here, and log to stderr; Ctrl-C ends it'), @('--service', '', 'with --foreground: a service manager started it'))
            children = @()
            words = @()
        }
        'proxy stop' = @{
            options = @(,@('--force', '', 'kill it, and cut off what it still serves'))
            children = @()
            words = @()
        }
        'proxy restart' = @{
            options = @(,@('--force', '', 'kill it, and cut off what it still serves'))
            children = @()
            words = @()
        }
        'proxy status' = @{
            options = @()
            children = @()
            words = @()
        }
        'proxy-stop' = @{
            options = @(,@('--force', '', 'kill it, and cut off what it still serves'))
            children = @()
            words = @()
        }
        'proxy-restart' = @{
            options = @(,@('--force', '', 'kill it, and cut off what it still serves'))
            children = @()
            words = @()
        }
        'proxy-logs' = @{
            options = @(@('-n', 'FREE', 'how many of the last lines to show first (50)'), @('--lines', 'FREE', 'how many of the last lines to show first (50)'), @('--no-follow', '', 'show them, and stop'), @('--app', '', 'the events of the proxy, instead of its raw output'), @('--since', 'FREE', 'only what is younger: 30s, 10m, 2h, 1d'))
            children = @()
            words = @()
        }
        'service' = @{
            options = @()
            children = @(@('print', '', 'show the service file, and write nothing'), @('install', '', 'write the service file, and say how to turn it on'), @('uninstall', '', 'remove the service file that kmi wrote'))
            words = @()
        }
        'service print' = @{
            options = @(,@('--light', '', 'systemd: without what needs user namespaces, which some systems forbid'))
            children = @()
            words = @('systemd|launchd|windows')
        }
        'service install' = @{
            options = @(@('--light', '', 'systemd: without what needs user namespaces, which some systems forbid'), @('--now', '', 'also turn it on or off (systemd, launchd)'), @('--force', '', 'also a file that somebody changed'))
            children = @()
            words = @('systemd|launchd|windows')
        }
        'service uninstall' = @{
            options = @(@('--now', '', 'also turn it on or off (systemd, launchd)'), @('--force', '', 'also a file that somebody changed'))
            children = @()
            words = @('systemd|launchd|windows')
        }
        'plugin' = @{
            options = @()
            children = @(@('install', '', 'let the clients tell kmi which session began, and which failed'), @('uninstall', '', 'take all of that out again'), @('status', '', 'what is installed where'))
            words = @()
        }
        'plugin install' = @{
            options = @(@('--client', 'kimi-cli|kimi-code', 'only for this client'), @('--dry-run', '', 'show what would be written, and stop'))
            children = @()
            words = @()
        }
        'plugin uninstall' = @{
            options = @(@('--client', 'kimi-cli|kimi-code', 'only for this client'), @('--dry-run', '', 'show what would be written, and stop'))
            children = @()
            words = @()
        }
        'plugin status' = @{
            options = @(,@('--client', 'kimi-cli|kimi-code', 'only for this client'))
            children = @()
            words = @()
        }
        'hook' = @{
            options = @(@('--client', 'kimi-cli|kimi-code', 'in which client'), @('--wait', '', 'answer when all is done, not before (for trying)'))
            children = @()
            words = @('session-start|session-end|stop-failure')
        }
        'init' = @{
            options = @(@('--cmd', 'FREE', 'name the function NAME instead of `kimi`'), @('--no-wrap', '', 'no function'), @('--no-prompt', '', 'nothing in the prompt'), @('--no-completion', '', 'no completion'))
            children = @()
            words = @('bash|zsh|fish|pwsh')
        }
        'completion' = @{
            options = @()
            children = @()
            words = @('bash|zsh|fish|pwsh')
        }
        'prompt' = @{
            options = @()
            children = @()
            words = @()
        }
        'config' = @{
            options = @()
            children = @(@('show', '', 'every setting with its value and its origin'), @('validate', '', 'check settings, keys, state, bindings and client configs'), @('path', '', 'where each file is'), @('migrate', '', 'bring kmi''s files to today''s form, also those of kmi-manager-cli'))
            words = @()
        }
        'config show' = @{
            options = @()
            children = @()
            words = @()
        }
        'config validate' = @{
            options = @()
            children = @()
            words = @()
        }
        'config path' = @{
            options = @()
            children = @()
            words = @()
        }
        'config migrate' = @{
            options = @(@('--from', 'DIR', 'where kmi-manager-cli was started, or kept its files'), @('--dry-run', '', 'show the plan, change nothing'), @('--yes', '', 'do not ask'))
            children = @()
            words = @()
        }
        'doctor' = @{
            options = @(@('--fix', '', 'put right what is safe, after asking'), @('--yes', '', 'with --fix: do not ask'), @('--dry-run', '', 'with --fix: tell, change nothing'))
            children = @()
            words = @()
        }
        'undo' = @{
            options = @(@('--client', 'kimi-cli|kimi-code', 'whose config is meant'), @('--file', 'BACKUP', 'put this whole backup in place'), @('--dry-run', '', 'show the change, write nothing'))
            children = @()
            words = @()
        }
        'backups' = @{
            options = @(,@('--client', 'kimi-cli|kimi-code', 'only this client''s'))
            children = @()
            words = @()
        }
        'audit' = @{
            options = @(@('--lines', 'FREE', 'how many of the last (50)'), @('--since', 'FREE', 'only what is younger: 10m, 2h, 30d'), @('--command', 'FREE', 'only this command, such as `keys`'), @('--outcome', 'changed|unchanged|denied', 'only what ended so'), @('--actor', 'FREE', 'only what this person did'), @('--key', 'LABEL', 'only what names this key'))
            children = @()
            words = @()
        }
        'clean' = @{
            options = @(@('--logs', '', 'what the proxy logged'), @('--trace', '', 'which key served which request'), @('--runs', '', 'which run had which key'), @('--usage', '', 'what calls cost, as `kmi usage` shows it'), @('--backups', '', 'client configs as they were, and `kmi undo` with them'), @('--older-than', 'FREE', 'only what is older: 12h, 30d (the default), 0d for all'), @('--dry-run', '', 'only say what would go'))
            children = @()
            words = @()
        }
        'simulate' = @{
            options = @(@('--keys', 'FREE', 'keys (3)'), @('--clients', 'FREE', 'people at work (4 for each key)'), @('--days', 'FREE', 'days (14)'), @('--seed', 'FREE', 'of chance (1)'), @('--load', 'FREE', 'make the quotas so large that this share of them is needed, such as 0.9'), @('--strategy', 'sticky|most-remaining|round-robin|least-recently-used|soonest-reset|spread', 'only this one; may be repeated (all)'), @('--workload', 'FILE', 'requests from a file of usage rows'), @('--recorded', '', 'requests from what `kmi usage` has recorded'))
            children = @()
            words = @()
        }
        'demo' = @{
            options = @(@('--stand-in', '', 'use the shipped stand-in, not the `kimi` on PATH'), @('--shell', '', 'start $SHELL in the throw-away home, to try kmi by hand'))
            children = @()
            words = @()
        }
    }
    $common = @(@('--json', '', 'one JSON document on stdout'), @('--plain', '', 'ASCII only, no colour'), @('--no-color', '', 'no colour'), @('--quiet', '', 'no notes'), @('--verbose', '', 'details'), @('--help', '', 'show help'))
    $directory = if ($env:KMI_STATE_DIR) { $env:KMI_STATE_DIR }
    elseif ($global:__kmi_state) { $global:__kmi_state }
    else { [IO.Path]::Combine($HOME, '.kmi') }

    $candidates = {
        param($kind)
        if ($kind -ceq 'LABEL') {
            try { [IO.File]::ReadAllLines([IO.Path]::Combine($directory, 'labels')) -cmatch '^[A-Za-z0-9._@/-]+$' }
            catch { }
        }
        elseif ($kind -ceq 'BACKUP') {
            Get-ChildItem -Path ([IO.Path]::Combine($directory, 'backups', 'kimi-*')) -ErrorAction Ignore |
                ForEach-Object { $_.Name }
        }
        elseif ($kind -and $kind -cnotin 'FREE', 'FILE') { $kind -split '\|' }
    }
    $show = {
        param($text, $about)
        if ($text.StartsWith($wordToComplete, [StringComparison]::Ordinal)) {
            # A word that begins with @ would be an array.
            $quoted = if ($text.StartsWith('@')) { "'$text'" } else { $text }
            $tip = if ($about) { $about } else { $text }
            [Management.Automation.CompletionResult]::new($quoted, $text, 'ParameterValue', $tip)
        }
    }

    $words = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition -or
            ($_.Extent.EndOffset -eq $cursorPosition -and -not $wordToComplete) } |
            Select-Object -Skip 1)
    $path, $wanted, $number, $ended = '', '', 0, $false
    for ($index = 0; $index -lt $words.Count; $index++) {
        $element = $words[$index]
        $word = $element.Extent.Text
        if ($wanted) { $wanted = '' }
        elseif ($word -ceq '--') {
            if ($path -ceq 'run') { $path = 'run --'; continue }
            $ended = $true
        }
        elseif ($path -ceq 'run --' -or $path -ceq 'run' -and -not $word.StartsWith('-') -or
            $path -ceq 'kimi') {
            # The rest of the line belongs to another program: what PowerShell knows of it.
            if ($path -ceq 'kimi') { $element = $words[0] }
            $start = $element.Extent.StartOffset
            $line = $commandAst.Extent.StartScriptPosition.GetFullScript().Substring($start)
            return [Management.Automation.CommandCompletion]::CompleteInput(
                $line, $cursorPosition - $start, $null).CompletionMatches
        }
        elseif ($word.StartsWith('-') -and -not $ended) {
            $wanted = @($table[$path].options | Where-Object { $_[0] -ceq $word })[0][1]
        }
        elseif (@($table[$path].children | Where-Object { $_[0] -ceq $word }).Count) {
            $path = "$path $word".Trim()
        }
        else { $number++ }
    }

    if ($wanted) { & $candidates $wanted | ForEach-Object { & $show $_ } }
    elseif ($wordToComplete.StartsWith('-') -and -not $ended) {
        $table[$path].options + $common | ForEach-Object { & $show $_[0] $_[2] }
    }
    elseif ($path -clike 'run*') {
        Get-Command -Name "$wordToComplete*" -CommandType Application -ErrorAction Ignore |
            ForEach-Object { & $show $_.Name }
    }
    else {
        $table[$path].children | ForEach-Object { & $show $_[0] $_[2] }
        $kinds = @($table[$path].words)
        if ($kinds.Count) {
            $last = $kinds[$kinds.Count - 1]
            if ($number -lt $kinds.Count) { & $candidates $kinds[$number].TrimEnd('+') | ForEach-Object { & $show $_ } }
            elseif ($last.EndsWith('+')) { & $candidates $last.TrimEnd('+') | ForEach-Object { & $show $_ } }
        }
    }
}
