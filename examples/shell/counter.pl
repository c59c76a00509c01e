#!/usr/bin/perl
# Counts words: a line in, a number out. The socket is descriptor 3, sd_listen_fds(3).
use strict;
use warnings;

die "counter.pl: no socket was passed\n" unless ($ENV{LISTEN_PID} // '') eq $$ && ($ENV{LISTEN_FDS} // '') eq '1';
open(my $socket, '+<&=', 3) or die "descriptor 3: $!\n";
my (%said, $leave);
$SIG{TERM} = sub { exit 0 unless defined $leave; $leave = 1 };    # not in the middle of an answer
until ($leave) {
    accept(my $client, $socket) or next;
    $leave = 0;
    while (defined(my $word = <$client>)) {
        chomp $word;
        syswrite($client, ++$said{$word} . "\n");
    }
    close($client);
    exit 0 if $leave;
    undef $leave;
}
