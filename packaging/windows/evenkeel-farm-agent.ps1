<#
.SYNOPSIS
    The agent of a Windows session host for an Evenkeel farm.

.DESCRIPTION
    Answers farms that have the option agent-port in the host line: with the users of the sessions
    of this machine, and whether each of them is connected. While the host is drained, the farm sends
    the text of drain-notice, and the agent shows it once in each session.

    The reply, with one line for each session:

        up
        sessions 2
        session EXAMPLE\anna active
        session bert disconnected 3600

    States and users come from the WTS API, never from the text of a program, so the language of
    Windows does not matter. Run it as SYSTEM: see docs/remote-desktops.md, "Agents".

.PARAMETER Allow
    The addresses that are answered: those of the nodes of the farm. An address, or a network such
    as 10.0.0.0/24.

.PARAMETER Port
    The port, as in agent-port.

.PARAMETER Title
    The title of notices.

.PARAMETER Once
    Prints one reply and ends, to look at what a farm would get.

.EXAMPLE
    .\evenkeel-farm-agent.ps1 -Allow 10.0.0.2, 10.0.0.3
#>
[CmdletBinding(DefaultParameterSetName = 'Serve')]
param(
    [Parameter(Mandatory = $true, ParameterSetName = 'Serve')]
    [string[]] $Allow,

    [Parameter(ParameterSetName = 'Serve')]
    [ValidateRange(1, 65535)]
    [int] $Port = 9707,

    [Parameter(ParameterSetName = 'Serve')]
    [string] $Title = 'Remote desktop',

    [Parameter(Mandatory = $true, ParameterSetName = 'Once')]
    [switch] $Once
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# Bounds: a connection, the line of a farm, a reply, a notice, and how long that holds.
$LineMilliseconds = 500
$ConnectionMilliseconds = 5000
$LineBytesMax = 1024
$ReplyBytesMax = 65536
$NoticeLengthMax = 512
$NoticesMax = 8
$NoticeHoldsSeconds = 60

Add-Type -TypeDefinition @'
using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Evenkeel
{
    /// A session of a user.
    public sealed class Session
    {
        public uint Id;
        public string User = "";
        public string Domain = "";
        public bool IsActive;
        /// Seconds since the last client left; -1: not known.
        public long Seconds = -1;
        /// When the user logged on: no other session has this and the number.
        public long Began;
    }

    public static class Sessions
    {
        // WTS_CONNECTSTATE_CLASS: the states in which a session is of a user.
        private const int Active = 0;
        private const int Connected = 1;
        private const int Shadow = 3;
        private const int Disconnected = 4;
        private const int Idle = 5;
        private const int InfoClassSession = 24;
        private const int TypeSessionInfo1 = 2;
        private const long TicksPerSecond = 10000000;

        [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
        private struct WTS_SESSION_INFO_1
        {
            public uint ExecEnvId;
            public int State;
            public uint SessionId;
            [MarshalAs(UnmanagedType.LPWStr)] public string SessionName;
            [MarshalAs(UnmanagedType.LPWStr)] public string HostName;
            [MarshalAs(UnmanagedType.LPWStr)] public string UserName;
            [MarshalAs(UnmanagedType.LPWStr)] public string DomainName;
            [MarshalAs(UnmanagedType.LPWStr)] public string FarmName;
        }

        [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
        private struct WTSINFO
        {
            public int State;
            public uint SessionId;
            public uint IncomingBytes;
            public uint OutgoingBytes;
            public uint IncomingFrames;
            public uint OutgoingFrames;
            public uint IncomingCompressedBytes;
            public uint OutgoingCompressedBytes;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 32)] public string WinStationName;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 17)] public string Domain;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 21)] public string UserName;
            public long ConnectTime;
            public long DisconnectTime;
            public long LastInputTime;
            public long LogonTime;
            public long CurrentTime;
        }

        [DllImport("wtsapi32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool WTSEnumerateSessionsExW(
            IntPtr server, ref uint level, uint filter, out IntPtr sessions, out uint count);

        [DllImport("wtsapi32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool WTSFreeMemoryExW(int type, IntPtr memory, uint count);

        [DllImport("wtsapi32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool WTSQuerySessionInformationW(
            IntPtr server, uint session, int infoClass, out IntPtr buffer, out uint bytes);

        [DllImport("wtsapi32.dll")]
        private static extern void WTSFreeMemory(IntPtr memory);

        [DllImport("wtsapi32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool WTSSendMessageW(
            IntPtr server, uint session, string title, uint titleBytes, string text, uint textBytes,
            uint style, uint timeoutSeconds, out uint response, bool wait);

        /// The sessions of users; those that only listen, and those of services, are of nobody.
        public static List<Session> All()
        {
            uint level = 1;
            uint count;
            IntPtr memory;
            if (!WTSEnumerateSessionsExW(IntPtr.Zero, ref level, 0, out memory, out count))
            {
                throw new Win32Exception(Marshal.GetLastWin32Error());
            }
            var all = new List<Session>();
            try
            {
                int size = Marshal.SizeOf(typeof(WTS_SESSION_INFO_1));
                for (uint at = 0; at < count; at++)
                {
                    IntPtr place = new IntPtr(memory.ToInt64() + (long)at * size);
                    var info = (WTS_SESSION_INFO_1)Marshal.PtrToStructure(
                        place, typeof(WTS_SESSION_INFO_1));
                    bool isActive = info.State == Active || info.State == Connected
                        || info.State == Shadow;
                    bool isLeft = info.State == Disconnected || info.State == Idle;
                    if (string.IsNullOrEmpty(info.UserName) || !(isActive || isLeft))
                    {
                        continue;
                    }
                    var session = new Session();
                    session.Id = info.SessionId;
                    session.User = info.UserName;
                    session.Domain = info.DomainName ?? "";
                    session.IsActive = isActive;
                    AddTimes(session);
                    all.Add(session);
                }
            }
            finally
            {
                WTSFreeMemoryExW(TypeSessionInfo1, memory, count);
            }
            return all;
        }

        private static void AddTimes(Session session)
        {
            IntPtr memory;
            uint bytes;
            if (!WTSQuerySessionInformationW(
                IntPtr.Zero, session.Id, InfoClassSession, out memory, out bytes))
            {
                return;
            }
            try
            {
                if (bytes < Marshal.SizeOf(typeof(WTSINFO)))
                {
                    return;
                }
                var info = (WTSINFO)Marshal.PtrToStructure(memory, typeof(WTSINFO));
                session.Began = info.LogonTime;
                long since = session.IsActive ? info.ConnectTime : info.DisconnectTime;
                if (since > 0 && info.CurrentTime >= since)
                {
                    session.Seconds = (info.CurrentTime - since) / TicksPerSecond;
                }
            }
            finally
            {
                WTSFreeMemory(memory);
            }
        }

        /// Shows a text in a session, without waiting for its user.
        public static bool Show(uint session, string title, string text)
        {
            const uint InformationAndForeground = 0x00010040;
            uint response;
            return WTSSendMessageW(
                IntPtr.Zero, session, title, (uint)title.Length * 2, text, (uint)text.Length * 2,
                InformationAndForeground, 0, out response, false);
        }
    }
}
'@

# An address as 16 bytes, so that those of both families are compared alike.
function ConvertTo-AddressBytes {
    param([System.Net.IPAddress] $Address)
    return , $Address.MapToIPv6().GetAddressBytes()
}

# A network of Allow: its first address as bytes, and how many bits count.
function ConvertTo-Network {
    param([string] $Text)
    $parts = $Text.Split('/')
    $address = [System.Net.IPAddress]::Parse($parts[0].Trim())
    $bits = 128
    if ($parts.Length -gt 1) {
        $bits = [int] $parts[1]
        if ($address.AddressFamily -eq [System.Net.Sockets.AddressFamily]::InterNetwork) {
            $bits += 96
        }
        if ($bits -lt 0 -or $bits -gt 128) {
            throw "not a prefix length: $Text"
        }
    }
    return [pscustomobject] @{ Bytes = (ConvertTo-AddressBytes $address); Bits = $bits }
}

function Test-Allowed {
    param([System.Net.IPAddress] $Address, [object[]] $Networks)
    $own = ConvertTo-AddressBytes $Address
    foreach ($network in $Networks) {
        $isEqual = $true
        for ($bit = 0; $bit -lt $network.Bits; $bit++) {
            $at = $bit -shr 3
            $mask = 0x80 -shr ($bit -band 7)
            if (($own[$at] -band $mask) -ne ($network.Bytes[$at] -band $mask)) {
                $isEqual = $false
                break
            }
        }
        if ($isEqual) {
            return $true
        }
    }
    return $false
}

# The reply: as many sessions as it has room for are named.
function Get-Reply {
    param([object[]] $Sessions)
    $text = New-Object System.Text.StringBuilder
    [void] $text.Append("up`nsessions $($Sessions.Length)`n")
    $length = $text.Length
    foreach ($session in $Sessions) {
        $name = $session.User
        if ($session.Domain -ne '') {
            $name = $session.Domain + '\' + $name
        }
        $state = 'disconnected'
        if ($session.IsActive) {
            $state = 'active'
        }
        $line = "session $name $state"
        if ($session.Seconds -ge 0) {
            $line += " $($session.Seconds)"
        }
        $length += [System.Text.Encoding]::UTF8.GetByteCount($line) + 1
        if ($length -gt $ReplyBytesMax) {
            break
        }
        [void] $text.Append("$line`n")
    }
    return $text.ToString()
}

# Reads the line of a farm. HAProxy may send none.
function Read-Line {
    param([System.Net.Sockets.NetworkStream] $Stream)
    $buffer = New-Object byte[] $LineBytesMax
    $length = 0
    $end = [DateTime]::UtcNow.AddMilliseconds($LineMilliseconds)
    while ($length -lt $LineBytesMax) {
        $left = [int] ($end - [DateTime]::UtcNow).TotalMilliseconds
        if ($left -le 0) {
            break
        }
        $Stream.ReadTimeout = $left
        try {
            $read = $Stream.Read($buffer, $length, $LineBytesMax - $length)
        }
        catch [System.IO.IOException] {
            break
        }
        if ($read -eq 0) {
            break
        }
        $length += $read
        if ([Array]::IndexOf($buffer, [byte] 10, 0, $length) -ge 0) {
            break
        }
    }
    return [System.Text.Encoding]::UTF8.GetString($buffer, 0, $length).Split("`n")[0].Trim()
}

# Shows a notice in each session that has not been shown it. One that no farm has sent for a minute is over.
function Show-Notice {
    param([string] $Text, [object[]] $Sessions, [hashtable] $Notices)
    $now = [DateTime]::UtcNow
    foreach ($known in @($Notices.get_Keys())) {
        if (($now - $Notices[$known].Sent).TotalSeconds -ge $NoticeHoldsSeconds) {
            $Notices.Remove($known)
        }
    }
    if (-not $Notices.ContainsKey($Text)) {
        if ($Notices.get_Count() -ge $NoticesMax) {
            return
        }
        $Notices[$Text] = [pscustomobject] @{ Sent = $now; Shown = @{} }
    }
    $notice = $Notices[$Text]
    $notice.Sent = $now
    $shown = @{}
    foreach ($session in $Sessions) {
        $key = "$($session.Id)/$($session.Began)"
        $shown[$key] = $true
        if (-not $notice.Shown.ContainsKey($key)) {
            [void] [Evenkeel.Sessions]::Show($session.Id, $Title, $Text)
        }
    }
    $notice.Shown = $shown
}

function Invoke-Client {
    param([System.Net.Sockets.TcpClient] $Client, [hashtable] $Notices)
    $stream = $Client.GetStream()
    $line = Read-Line $stream
    $sessions = [Evenkeel.Sessions]::All().ToArray()
    if ($line.StartsWith('notice ', [StringComparison]::Ordinal)) {
        $text = ($line.Substring(7) -replace '\p{Cc}', '').Trim()
        if ($text.Length -gt $NoticeLengthMax) {
            $text = $text.Substring(0, $NoticeLengthMax)
        }
        if ($text -ne '') {
            Show-Notice -Text $text -Sessions $sessions -Notices $Notices
        }
    }
    $bytes = [System.Text.Encoding]::UTF8.GetBytes((Get-Reply $sessions))
    $stream.WriteTimeout = $ConnectionMilliseconds
    $stream.Write($bytes, 0, $bytes.Length)
    $Client.Client.Shutdown([System.Net.Sockets.SocketShutdown]::Send)
}

if ($Once) {
    Write-Output (Get-Reply ([Evenkeel.Sessions]::All().ToArray()))
    return
}

$networks = @(foreach ($text in $Allow) { ConvertTo-Network $text })
$notices = @{}
$listener = New-Object System.Net.Sockets.TcpListener ([System.Net.IPAddress]::IPv6Any), $Port
$listener.Server.DualMode = $true
$listener.Start(32)
try {
    # One client after the other, each for a bounded time: a farm asks every few seconds.
    while ($true) {
        $client = $listener.AcceptTcpClient()
        try {
            if (Test-Allowed $client.Client.RemoteEndPoint.Address $networks) {
                Invoke-Client $client $notices
            }
        }
        catch {
            # A farm that is gone asks again. What else is wrong is for the log of the task.
            [Console]::Error.WriteLine("evenkeel-farm-agent: $($_.Exception.Message)")
        }
        finally {
            $client.Close()
        }
    }
}
finally {
    $listener.Stop()
}
