package command

import "strings"

// kind says how sure one can be that a word is the name of a command.
type kind uint8

const (
	certain kind = iota + 1 // means nothing else
	short                   // short, or a word: alone behind a separator, or with an argument
	english                 // a word of the language: with what only a command takes
	lonely                  // alone behind a separator, and in no other case
)

// commands are names of programs and of what shells run themselves, on Unix and Windows.
var commands = buildCommands()

func buildCommands() map[string]kind {
	m := map[string]kind{}
	for k, names := range map[kind]string{
		certain: `bash sh zsh ksh csh tcsh busybox pwsh sysinfo powershell cmd wscript cscript mshta rundll32 regsvr32 certutil bitsadmin msiexec
			curl wget ncat netcat socat telnet ssh scp sftp rsync ftp tftp nslookup whoami hostname ifconfig ipconfig netstat traceroute tracert uname systeminfo tasklist taskkill
			ls rm mv cp chmod chown chgrp chroot mkdir rmdir mkfifo mknod dd mkfs mount umount fdisk lsblk lsof
			sudo su doas passwd useradd userdel usermod groupadd adduser crontab systemctl iptables nft insmod modprobe
			perl python python2 python3 php ruby lua gawk awk sed grep egrep fgrep xargs base64 xxd openssl gpg gcc gdb strace
			printf printenv eval xterm nohup setsid screen tmux pkill killall ifup ifdown arp nmap hping3 dig getent
			apt apt-get yum dnf apk pacman brew npm npx pip pip3 gem docker kubectl podman systemd-run
			wmic schtasks netsh reg vssadmin bcdedit icacls takeown findstr xcopy robocopy psexec nltest dsquery gpresult
			ping6 pwd chdir curl.exe shred truncate unlink rbash awk nawk tac zcat bzcat xzcat hexdump`,
		short: `id w ps df du ln nc nl ar tr wc vi ed ip ss dir ver who git vim nano rev tee type echo cat reboot halt poweroff shutdown source lsmod dmesg uptime jobs umask bg fg pr od vol cls del md rd ren copy erase attrib sc at`,
		english: `find net ping fish dash ash time more less head tail sort test date kill make sleep wait read cut join look which watch touch finger expect split man mail write install strings file nice link patch host top start stop service format call move print show open view log logger yes true false trap command exec tar zip unzip node java go cd goto pause title color for if while case until select function return break continue let local declare unset
			diff comm paste fold column stat size whereis locate hash login message wall telinit init run timeout stdbuf chat script`,
		lonely: `set env exit history export alias last free`,
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = k
		}
	}
	return m
}

// variables are those that systems set, so that they expand to something.
var variables = set(`IFS PATH HOME SHELL USER PWD OLDPWD HOSTNAME BASH_VERSION BASH RANDOM UID EUID PPID LD_PRELOAD LD_LIBRARY_PATH ENV BASH_ENV PS1 TERM LANG MAIL LOGNAME TMPDIR
	COMSPEC SYSTEMROOT WINDIR USERNAME USERPROFILE APPDATA LOCALAPPDATA PROGRAMFILES PROGRAMDATA TEMP TMP COMPUTERNAME USERDOMAIN PATHEXT SYSTEMDRIVE HOMEPATH HOMEDRIVE ALLUSERSPROFILE PUBLIC`)

func set(names string) map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		m[name] = true
	}
	return m
}

// dangerousOptions are words in names of long options that run something, or that read or
// write a file of the caller's choice.
var dangerousOptions = strings.Fields(`exec execute command cmd program pack pager editor shell rsh eval script hook hooks action preexec postexec rcfile init config proxycommand checkpoint output outfile
	plugin load require import module library preload upload post download filter transform to path prefix file from helper askpass agent`)

// dangerousShort are options with one dash and a word behind it.
var dangerousShort = strings.Fields(`exec execdir ok okdir oproxycommand encodedcommand enc command file fprintf fprint fls delete config include init eval`)

// codeCalls are functions that run commands or code, by their last name.
var codeCalls = strings.Fields(`system exec eval passthru shell_exec popen proc_open pcntl_exec assert execfile call_user_func spawn execsync spawnsync check_output create_function include require __import__ runtime_exec execve execl execvp`)

// codeSigns are the beginning of code wherever they stand.
var codeSigns = []string{"<?php", "<?=", "<%=", "() { :", "() {:", "(){ :", "(){:", "phpinfo(", "phpversion(", "getruntime()", "child_process", "os.system", "os.popen", "subprocess.", "invoke-expression", "iex(", "iex (", "-encodedcommand", "new-object net.webclient", "downloadstring(", "<!--#exec", "/dev/tcp/", "/dev/udp/"}
