#!/usr/bin/perl
# The other end of a guest's connections: tcp.pl ADDRESS PORT FILE
#
# Two connections, one after the other: what comes on the first is counted, and
# "RECEIVED BYTES" printed, and its SHA-256; FILE is sent on the second.
use strict;
use warnings;
use IO::Socket::INET;

my ($address, $port, $file) = @ARGV;
$SIG{ALRM} = sub { die "nobody came in time\n" };
alarm 120;
my $server = IO::Socket::INET->new(LocalAddr => $address, LocalPort => $port, Listen => 2, ReuseAddr => 1)
	or die "$address:$port: $@\n";
$| = 1;
print "LISTENING\n";
open my $sum, '|-', 'sha256sum' or die "sha256sum: $!\n";
my ($bytes, $data) = (0);
my $in = $server->accept or die "accept: $!\n";
while (my $n = sysread($in, $data, 1 << 16)) {
	print $sum $data;
	$bytes += $n;
}
print "RECEIVED $bytes\n";
close $sum or die "sha256sum failed\n";
close $in;
my $out = $server->accept or die "accept: $!\n";
open my $from, '<', $file or die "$file: $!\n";
while (my $n = sysread($from, $data, 1 << 16)) {
	my $at = 0;
	$at += syswrite($out, $data, $n - $at, $at) // die "write: $!\n" while $at < $n;
}
