/** What file system a path is on, by the kernel's list of mounts alone: to ask one whose server is gone is to wait for ever. */

export interface Mount {
  readonly point: string;
  readonly type: string;
  readonly readOnly: boolean;
}

/** `\040` is how the kernel writes a space there. */
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** `mountinfo`: /proc/self/mountinfo. */
export const mountOf = (path: string, mountinfo: string): Mount | null => {
  let found: Mount | null = null;
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const fields = left.split(' ');
    const point = unescaped(fields[4] ?? '');
    if (point === '' || !(path === point || path.startsWith(point === '/' ? '/' : `${point}/`))) continue;
    // Later ones lie over earlier ones.
    if (found !== null && point.length < found.point.length) continue;
    const [type = '', , superOptions = ''] = right.split(' ');
    // The second is what a disk with errors is turned into, where `ro` stays away.
    const isClosed = (option: string) => option === 'ro' || option === 'emergency_ro';
    const readOnly = [fields[5] ?? '', superOptions].some((options) => options.split(',').some(isClosed));
    found = { point, type, readOnly };
  }
  return found;
};

/**
 * Others may have it, too: a lock and the registry's log lie in memory that only one machine sees. Not 9p: sandboxes and
 * virtual machines have their own root on it.
 */
export const isNetwork = ({ type }: Pick<Mount, 'type'>): boolean =>
  /^(?:nfs\d?|cifs|smb3?|smbfs|ceph|glusterfs|lustre|afs|fuse\.(?:sshfs|glusterfs|ceph|s3fs|rclone|davfs\d?))$/.test(
    type,
  );
