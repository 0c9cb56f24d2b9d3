# kmi for PowerShell: `kmi init pwsh | Out-String | Invoke-Expression` in $PROFILE.
#
# A line that ends in `#:` and a word is changed by `kmi init`; what stands between `#: begin` and
# `#: end` is left out when it was not wanted. As it is, the file works with the `kmi` on PATH.

# The state directory, where kmi's env file moved it. KMI_STATE_DIR goes first.
$global:__kmi_state = '' #: state

#: begin wrap
# The client, on a key that works.
function global:kimi { #: name
    & kmi run '--' kimi @args #: kmi
}

#: end wrap
#: begin prompt
# Before each prompt: one line, read without a process. Sets KMI_PROMPT.
function global:__kmi_prompt {
    $directory = if ($env:KMI_STATE_DIR) { $env:KMI_STATE_DIR }
    elseif ($global:__kmi_state) { $global:__kmi_state }
    else { [IO.Path]::Combine($HOME, '.kmi') }
    $label, $mark = '', ''
    try {
        $label, $mark = [IO.File]::ReadAllText([IO.Path]::Combine($directory, 'prompt')).Trim() -split ' '
    }
    catch { $label = '' }
    # Inside a run the environment knows better.
    if ($env:KMI_RUN_ID -and $env:KMI_ACTIVE_KEY -and $env:KMI_ACTIVE_KEY -cne $label) {
        $label, $mark = $env:KMI_ACTIVE_KEY, ''
    }
    $global:KMI_PROMPT = ''
    if ($label -cmatch '^[A-Za-z0-9._@/-]{1,64}$') {
        $global:KMI_PROMPT = if ($mark -cin '!', 'x') { "$label $mark" } else { $label }
    }
    # A project that is bound to other keys: the first of them, behind `>`.
    $file = [IO.Path]::Combine($directory, 'bindings')
    if (-not $env:KMI_RUN_ID -and (Test-Path -LiteralPath $file -PathType Leaf)) {
        foreach ($line in [IO.File]::ReadAllLines($file)) {
            $bound, $folder = $line -split ' ', 2
            $inside = "$PWD/".Replace('\', '/').StartsWith($folder.Replace('\', '/').TrimEnd('/') + '/')
            if ($inside -and [IO.File]::Exists([IO.Path]::Combine($folder, '.kmi.toml'))) {
                $keys = $bound -split ','
                if ($keys -cnotcontains $label -and $keys[0] -cmatch '^[A-Za-z0-9._@/-]+$') {
                    $global:KMI_PROMPT += ">$($keys[0])"
                }
                break
            }
        }
    }
}

# The segment, before the prompt that is there; only once.
if (-not (Test-Path Variable:global:__kmi_old_prompt)) {
    $global:__kmi_old_prompt = $function:prompt
    function global:prompt {
        # `$?` can't be set again, so the old prompt asks first.
        $text = & $global:__kmi_old_prompt
        $code = $global:LASTEXITCODE
        __kmi_prompt
        $global:LASTEXITCODE = $code
        if ($global:KMI_PROMPT -and $global:KMI_PROMPT_AUTO -ne '0') { "[$global:KMI_PROMPT] $text" } else { $text }
    }
}

#: end prompt
#: begin completion
#: completion

#: end completion
