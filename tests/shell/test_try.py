from tests.shell.conftest import *
def test_b(desk, tmp_path):
    o=desk.open("fish",wrapper=("strace","-f","-qq","-e","trace=execve,fork,vfork,clone,clone3","-o","/tmp/w/trace"))
    for _ in range(10): o.type("\n"); o.wait_for(READY)
    o.do("true")
def test_a(desk):
    before = (
        "set -o noclobber; shopt -s nullglob failglob nocasematch extglob; shopt -u promptvars\n"
        "alias local=false read=false return=false kimi='kimi --yolo'; IFS=ork; readonly label=1"
    )
    opened = desk.open("bash", before=before)
    print(opened.greeting)
    print(opened.do("declare -p PROMPT_COMMAND KMI_PROMPT"))
    print(opened.do("set -x; __kmi_prompt"))
