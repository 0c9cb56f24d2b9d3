# Written by `make docs` from pyproject.toml; do not edit.
#
# A formula for a tap of your own. Untried: it was written without Homebrew at hand.
#
# `brew install --build-from-source` of this file in a tap, with HOMEBREW_KMI_SDIST as the path of an
# sdist (`python -m hatchling build -t sdist`): nothing is published yet, so no address can stand here.
# Its dependencies are not listed as resources; pip takes them from where it is configured to.
class Kmi < Formula
  include Language::Python::Virtualenv

  desc "{{description}}"
  url "file://#{ENV.fetch("HOMEBREW_KMI_SDIST", "/nowhere/kmi-{{version}}.tar.gz")}"
  version "{{version}}"
  license "{{license}}"

  depends_on "python@3.13"

  def install
    venv = virtualenv_create(libexec, "python3.13", without_pip: false)
    system venv.root/"bin/python", "-m", "pip", "install", buildpath
    bin.install_symlink libexec/"bin/kmi"
    man1.install_symlink libexec/"share/man/man1/kmi.1"
    bash_completion.install_symlink libexec/"share/bash-completion/completions/kmi"
    zsh_completion.install_symlink libexec/"share/zsh/site-functions/_kmi"
    fish_completion.install_symlink libexec/"share/fish/vendor_completions.d/kmi.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/kmi --version")
    assert_match "#compdef kmi", shell_output("#{bin}/kmi completion zsh")
  end
end
