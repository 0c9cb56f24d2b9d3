# TAB for kmi in PowerShell. Written by `make docs` from the parser; do not edit.
# Labels come from a file that kmi keeps: no process is started for them.

Register-ArgumentCompleter -Native -CommandName kmi -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # What there is below a command: options and actions as (name, kind, help); kinds of arguments.
    $table = @{
@TABLE@
    }
    $common = @(@GLOBAL@)
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
