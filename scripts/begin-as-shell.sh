# What workerctl and workerd are before they become Node (scripts/build.mjs puts this into a comment of the program).
#
# Node raises its limit of open files as it starts, and nobody can ask it afterwards what that was: it is looked at before,
# for the verbs that hand it on to workers.
#
# A shell hands on no variable whose name is none to it (`spring.profiles.active`, a function of bash), and brings PWD along.
# So the names in question are listed behind the limit, and where there is more or less than PWD alone, all of these
# variables are handed on beside, as they were; too long for one variable they are not.
case " $* " in
  *' start '* | *' run '*)
    WORKERD_NAMES='^(PWD|[0-9][^=]*|[^=]*[^A-Za-z0-9_=][^=]*)='
    { WORKERD_OPEN_FILES=$(ulimit -S -n; LC_ALL=C grep -aEzo "$WORKERD_NAMES" /proc/$$/environ); } 2>/dev/null
    export WORKERD_OPEN_FILES
    case ${WORKERD_OPEN_FILES#[0-9u]*[!0-9a-z]} in
      PWD=) ;;
      *)
        WORKERD_UNSHELLED=$(LC_ALL=C grep -aEz "$WORKERD_NAMES" /proc/$$/environ 2>/dev/null | base64)
        if [ ${#WORKERD_UNSHELLED} -lt 120000 ]; then export WORKERD_UNSHELLED; fi
        ;;
    esac
    unset WORKERD_NAMES
    ;;
esac
